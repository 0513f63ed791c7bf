"""A process without a home, without streams, behind a proxy."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["recipes", "login --url http://127.0.0.1:1"])
def test_no_closed_stream_is_a_trace(arguments: str, closed: str) -> None:
    command = f"{sys.executable} -m acclimate.cli.main {arguments} {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("arguments", [["recipes", "--keys"], ["recipes", "no such \udcff recipe µ → ü"]])
def test_what_an_encoding_lacks_is_written_all_the_same(arguments: list[str], encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "acclimate.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && "{sys.executable}" -m acclimate.cli.main runs'
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the folder this runs in is gone" in done.stderr
