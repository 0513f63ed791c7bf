"""The four pages on adding something, followed to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest

from acclimate_device.errors import TransportError
from acclimate_device.testing import GestureDevice, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"```(python|diff)\n(.*?)```", re.DOTALL)
PLACE = re.compile(r"`(platform/[\w/.]+\.py)`")


def blocks(page: str, language: str = "python") -> list[str]:
    return [text for kind, text in BLOCK.findall((PAGES / page).read_text()) if kind == language]


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> Path:
    """A copy of the platform with the pages' learner, gate and tests added."""
    tree = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        ROOT / "platform", tree / "platform", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for page in ("add-a-learner.md", "add-a-gate.md"):
        follow((PAGES / page).read_text(), tree)
    return tree


def follow(page: str, tree: Path) -> None:
    """Do what a page says, from its first line to its last."""
    place = tree
    for found in re.finditer(f"{PLACE.pattern}|{BLOCK.pattern}", page, re.DOTALL):
        named, language, text = found.groups()
        if named:
            place = tree / named
        elif language == "diff":
            replace_in(place, text)
        elif text.startswith("# tests/"):
            test = tree / text.partition("\n")[0].removeprefix("# ")
            test.parent.mkdir(parents=True, exist_ok=True)
            test.write_text(text)
        else:
            before = re.search(r"before `(.+)`", page[: found.start()].rpartition("\n\n")[0])
            assert before is not None
            replace_in(
                place, "".join(f"+{line}\n" for line in [*text.splitlines(), "", ""]) + f" {before[1]}\n"
            )


def replace_in(path: Path, diff: str) -> None:
    """Apply a diff whose lines may be the beginnings of lines; what it replaces must stand there once."""
    lines = diff.splitlines()
    old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    text = path.read_text()
    assert text.count(f"\n{old}") == 1, f"{path.name} holds {text.count(old)} of: {old}"
    path.write_text(text.replace(f"\n{old}", f"\n{new}"))


def test_the_learner_and_the_gate_pass_their_tests(changed: Path) -> None:
    tests = sorted(str(path) for path in (changed / "tests").rglob("test_*.py"))
    assert len(tests) == 2
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    paths = os.pathsep.join([str(changed / "platform"), str(ROOT / "device_sdk")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=changed,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout


def test_a_device_takes_the_detector(tmp_path: Path) -> None:
    bundle_in(tmp_path)
    detector, use = blocks("add-a-detector.md")

    def stream() -> Iterator[tuple[Any, Any]]:
        steady = list(GestureDevice(1).examples(150))
        yield from steady
        yield from ((x, steady[0][1]) for x, label in steady if label != steady[0][1])  # from here on: wrong

    made = names_of(detector)
    seen: list[int] = []

    ewma: Any = made["Ewma"]  # the page's

    class Watched(ewma):
        def update(self, x: float) -> None:
            super().update(x)
            seen.append(self.drift_detected)

    exec(in_folder(use, tmp_path), made | {"stream": stream, "Ewma": Watched})
    assert len(seen) > 150
    assert not any(seen[:150])
    assert any(seen)


def test_an_agent_takes_the_transport(tmp_path: Path) -> None:
    service = SimulatedService(SimulatedRepository())
    (tmp_path / "root.json").write_bytes(service.repository.root)
    transport, use = blocks("add-a-transport.md")
    with served(service, tmp_path / "gateway.sock"):
        made = names_of(in_folder(f"{transport}\n{use}", tmp_path), token=service.token)
        assert made["agent"].service.enrolled().fleet == "fleet"
        assert service.requests >= 3
        over = made["UnixTransport"](str(tmp_path / "gateway.sock"))
        with pytest.raises(TransportError, match="longer than 1 bytes"):
            over.request("GET", "/v1/state", {}, None, 1)
    with pytest.raises(TransportError, match=r"gateway\.sock"):
        over.request("GET", "/v1/state", {}, None, 1)


def names_of(code: str, **given: object) -> dict[str, Any]:
    names: dict[str, Any] = dict(given)
    exec(code, names)
    return names


def in_folder(code: str, folder: Path) -> str:
    """The page's relative paths, in a folder of this test's own."""
    return re.sub(r'"(bundle|state|root\.json|tuf|gateway\.sock)"', rf'"{folder}/\1"', code)


def bundle_in(folder: Path) -> None:
    bundle = folder / "bundle"
    bundle.mkdir()
    for name, data in tiny_bundle().items():
        (bundle / name).write_bytes(data)


@contextmanager
def served(service: SimulatedService, path: Path) -> Iterator[None]:
    """A service in memory behind a Unix socket."""

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            answer = service.request(self.command, self.path, dict(self.headers), body, 1 << 20)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815 - the library's spelling

    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
