"""An operator's journey by command line, with the real agent of a device on the other side of real HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from securesystemslib.signer import CryptoSigner

from acclimate.bundle.repository import operations
from acclimate.cli.main import cli
from acclimate.errors import AcclimateError
from acclimate_device.agent.main import main as agent
from acclimate_device.testing import tiny_bundle
from tests.support.serving import ADMIN, Served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """A service with the bundle `gestures` version 1 in its repository."""
    home = tmp_path_factory.mktemp("journey")
    bundle = home / "bundle"
    bundle.mkdir()
    for name, content in tiny_bundle().items():
        (bundle / name).write_bytes(content)
    now = datetime.now(UTC)
    keys = {name: [CryptoSigner.generate_ed25519()] for name in ("root", "targets", "online")}
    signers = {one.public_key.keyid: one for each in keys.values() for one in each}
    operations.create(home / "tuf", keys, now)
    operations.publish(home / "tuf", bundle, signers, now)
    service = Served(home)
    service.start(ACCLIMATE_RETRAIN_COMMAND=f"{sys.executable} -c pass")
    yield service
    service.stop()


@pytest.fixture
def run(served, monkeypatch):
    """Run a command; its standard output, or the error a person would read."""
    monkeypatch.setenv("ACCLIMATE_URL", served.url)
    monkeypatch.setenv("ACCLIMATE_TOKEN", ADMIN)

    def command(*arguments: str, fails: bool = False) -> str:
        result = CliRunner().invoke(cli, arguments)
        if fails:
            assert isinstance(result.exception, AcclimateError), result.output
            return str(result.exception)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    return command


def test_from_nothing_to_a_device_in_a_rollout(served, run, tmp_path, capsys):
    assert "plant" in run("fleet", "create", "plant", "--poll-interval", "1")
    assert "gestures" in run("fleet", "releases")
    assert "gestures@1" in run("fleet", "baseline", "plant", "gestures@1")

    made = json.loads(run("fleet", "enrol", "plant", "--json"))
    (tmp_path / "token").write_text(made["token"])
    (tmp_path / "root.json").write_bytes((served.home / "tuf" / "metadata" / "1.root.json").read_bytes())
    config = tmp_path / "device.toml"
    config.write_text(
        f'service = "{served.url}"\nstate = "state"\nroot = "root.json"\ntoken_file = "token"\n'
        'hardware_id = "press-7"\n[attributes]\nsite = "A"\n'
    )
    assert agent(["--config", str(config), "enrol", "--json"]) == 0
    identity = json.loads(capsys.readouterr().out)["device_id"]
    assert agent(["--config", str(config), "once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new_assignment"] is True
    assert agent(["--config", str(config), "enrol", "--again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device_id"] == identity, "the same key is the same device"
    (tmp_path / "token").write_text("ace_wrong")
    assert agent(["--config", str(config), "enrol"]) == 0
    assert agent(["--config", str(config), "enrol", "--again"]) == 2
    capsys.readouterr()
    assert any((tmp_path / "state").rglob("*params*")), "the bundle was downloaded, verified and staged"
    assert agent(["--config", str(config), "once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new_assignment"] is False

    (listed,) = json.loads(run("device", "list", "plant", "--json"))
    assert (listed["id"], listed["hardware_id"]) == (identity, "press-7")
    assert "run gestures@1" in run("device", "list", "plant").replace("\n", " ")
    assert "site=A" in run("device", "show", "plant", identity)
    run("device", "attributes", "plant", identity, "site=B", "memory_mb=64")
    assert json.loads(run("device", "show", "plant", identity, "--json"))["device"]["attributes"] == {
        "site": "B",
        "memory_mb": 64,
    }

    plan = ("rollout", "plan", "plant", "gestures@1", "--target", 'site == "B"')
    never = run(*plan, "--waves", "1:1h", fails=True)
    assert "wave 1 (1 device) could never pass" in never
    assert "min_devices at most 1" in never
    rollout = json.loads(run(*plan, "--start", "--json"))["rollout"]["id"]
    run("rollout", "pause", rollout, "--reason", "a look first")
    assert "paused" in run("rollout", "status", rollout)
    run("rollout", "resume", rollout)
    assert "a look first" in run("rollout", "why", rollout)
    assert "rolling back" in run("rollout", "rollback", rollout, "--yes")
    watched = run("rollout", "status", rollout, "--watch", "--interval", "0.2", "--json")
    assert json.loads(watched.splitlines()[-1])["rollout"]["state"] == "rolled_back"
    assert rollout in run("rollout", "list", "--fleet", "plant")

    run("device", "retire", "plant", identity, "--yes")
    assert agent(["--config", str(config), "once"]) == 3


def test_a_person_has_a_version_trained_once_and_is_told_why_not_twice(served, run):
    run("fleet", "create", "press-shop")
    assert "runs no release yet" in run("fleet", "retrain", "press-shop", fails=True)
    run("fleet", "baseline", "press-shop", "gestures@1")
    started = json.loads(run("fleet", "retrain", "press-shop", "--reason", "new season", "--json"))
    assert started["started"]
    refused = run("fleet", "retrain", "press-shop", fails=True)
    assert "another training is running" in refused or "was trained for less than" in refused
    entries = httpx.get(f"{served.url}/api/v1/audit", headers=served.admin).json()
    assert (started["id"], "operator: new season") in [(one["subject"], one["detail"]) for one in entries]


def test_mistakes_are_explained_in_one_line(served, run, monkeypatch):
    assert "no fleet 'nowhere'" in run("fleet", "show", "nowhere", fails=True)
    run("fleet", "create", "shop")
    assert "shop" in run("fleet", "create", "shop", fails=True)
    missing = run("fleet", "baseline", "shop", "gestures@9", fails=True)
    assert "version 9 of 'gestures' is not published" in missing
    assert "needs a registry" in run("fleet", "baseline", "shop", "gestures@champion", fails=True)
    assert "wave 'lots'" in run("rollout", "plan", "shop", "gestures@1", "--waves", "lots", fails=True)
    wrong = run("rollout", "plan", "shop", "gestures@1", "--target", "site = 1", fails=True)
    assert "target" in wrong
    assert "r-none" in run("rollout", "why", "r-none", fails=True)
    monkeypatch.setenv("ACCLIMATE_TOKEN", "acl_wrong")
    assert "acclimate login" in run("fleet", "list", fails=True)
    monkeypatch.setenv("ACCLIMATE_URL", "http://127.0.0.1:1")
    assert "acclimate serve" in run("fleet", "list", fails=True)


def test_a_login_is_kept_readable_by_its_owner_alone(served, run, tmp_path, monkeypatch):
    from acclimate import client

    monkeypatch.setattr(client, "credentials_file", lambda: tmp_path / "acclimate" / "credentials.json")
    made = json.loads(run("token", "create", "mara", "--role", "viewer", "--days", "1", "--json"))
    run("login", "--url", served.url, "--token", made["token"])
    piped = CliRunner().invoke(cli, ["login", "--url", served.url], input=f"{made['token']}\n")
    assert "signed in" in piped.output
    kept: Path = tmp_path / "acclimate" / "credentials.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.delenv("ACCLIMATE_TOKEN")
    monkeypatch.delenv("ACCLIMATE_URL")
    assert "Fleets" in run("fleet", "list")
    assert "needs a token of role operator" in run("fleet", "create", "mine", fails=True)
    monkeypatch.setenv("ACCLIMATE_URL", "http://127.0.0.1:1")
    assert "no token for" in run("fleet", "list", fails=True), "a token goes to no other service"
    monkeypatch.setenv("ACCLIMATE_URL", served.url)
    monkeypatch.setenv("ACCLIMATE_TOKEN", ADMIN)
    assert "mara" in run("token", "list")
    run("token", "revoke", made["id"])
    monkeypatch.delenv("ACCLIMATE_TOKEN")
    assert "acclimate login" in run("fleet", "list", fails=True)
