"""From a registered version to a signed target, as a person does it: real MLflow store, real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from acclimate_device.protocol import LIMITS, MANIFEST, Manifest, loads
from tests.support.registered import register

pytestmark = pytest.mark.slow


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs `acclimate` in a home of its own."""
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "acclimate", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
        )

    return run


def test_export_sign_refresh_and_look(cli, tmp_path):
    version = register()
    done = cli("export", "watch@candidate", "-o", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    assert "next: acclimate repo publish" in done.stderr
    manifest = loads(Manifest, (tmp_path / "bundle" / MANIFEST).read_bytes(), LIMITS.manifest_bytes)
    assert (manifest.release.version, manifest.release.content_hash) == (1, version.content_hash)
    assert manifest.run_id == version.run_id
    assert manifest.expected.points[0].quantiles == {"p05": 0.7, "p95": 0.97}

    repository, keys = tmp_path / "repository", tmp_path / "keys"
    secret = {"ACCLIMATE_KEY_PASSPHRASE": "correct horse battery"}
    refused = cli("repo", "init", repository, "--keys", keys)
    assert refused.returncode == 2
    assert "ACCLIMATE_KEY_PASSPHRASE" in refused.stderr
    assert not keys.exists()
    outputs = [
        cli("repo", "init", repository, "--keys", keys, **secret),
        cli("repo", "publish", repository, tmp_path / "bundle", "--key", keys / "targets.pem", **secret),
        cli("repo", "refresh", repository, "--key", keys / "online.pem"),
        cli("repo", "rotate", "targets", repository, "--key", keys, "--new", keys / "two.pem", **secret),
        cli("repo", "status", repository, "--check", "--json"),
    ]
    for output in outputs:
        assert output.returncode == 0, output.stderr
        assert "correct horse" not in output.stdout + output.stderr
    assert json.loads(outputs[-1].stdout)["releases"] == ["watch/1"]
    wrong = cli("repo", "renew", "root", repository, "--key", keys, ACCLIMATE_KEY_PASSPHRASE="wrong")
    assert wrong.returncode == 2
    assert "the passphrase is wrong" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_limit_in_the_recipe_stops_the_export(cli, tmp_path):
    register("name: watch\ndevice: {macs_per_step: 10}\n")
    refused = cli("export", "watch", "-o", tmp_path / "bundle")
    assert refused.returncode == 2
    assert "macs_per_step" in refused.stderr
    assert "at most 10" in refused.stderr
    assert not (tmp_path / "bundle").exists()


def test_signing_runs_where_torch_is_not_installed(tmp_path):
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'numpy', 'onnx', 'mlflow'])); "
    code = blocked + "from acclimate.cli.main import main; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "repo",
            "init",
            tmp_path / "r",
            "--keys",
            tmp_path / "k",
            "--unencrypted",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
