"""A process without a home, without streams, behind a proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # typeshed leaves it out

import pytest

from acclimate.cli.surroundings import put_right


@pytest.mark.parametrize("named", [None, "example.org, .corp", "*"])
def test_this_machine_is_asked_without_a_proxy(named: str | None) -> None:
    environ = {"https_proxy": "http://proxy:3128"} | ({} if named is None else {"NO_PROXY": named})
    put_right(environ)
    excepted = {"no": environ.get("no_proxy", environ.get("NO_PROXY", ""))}
    for host in ("localhost", "127.0.0.1", "::1"):
        assert proxy_bypass_environment(host, excepted)
    assert bool(proxy_bypass_environment("a.corp", excepted)) is (named is not None)
    assert bool(proxy_bypass_environment("other.net", excepted)) is (named == "*")


def test_without_a_proxy_nothing_is_set() -> None:
    environ: dict[str, str] = {}
    put_right(environ)
    assert not environ


def test_an_account_without_a_home_gets_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    environ: dict[str, str] = {}
    put_right(environ)
    assert environ == {"HOME": "/"}


def test_a_command_needs_no_standard_output() -> None:
    command = [sys.executable, "-m", "acclimate.cli.main", "--version"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
