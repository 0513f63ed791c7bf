"""Microcontrollers behind a gateway: the C runtime in a process of its own, driven over a terminal line."""

from __future__ import annotations

import itertools
import json
import os
import pty
import random
import resource
import socket
import struct
import subprocess
import termios
import threading
import tty
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization

from acclimate_device.agent.agent import Agent
from acclimate_device.agent.config import AgentConfig
from acclimate_device.agent.gateway import Gateway, GatewayConfig
from acclimate_device.bundle import parse_manifest
from acclimate_device.clock import Clock
from acclimate_device.errors import ConfigError, TransportError
from acclimate_device.mcu import ports
from acclimate_device.mcu.line import Ask, Line, decoded, encoded
from acclimate_device.mcu.ports import Port, open_port
from acclimate_device.protocol import MANIFEST, Release, dumps, read, write
from acclimate_device.protocol.manifest import Manifest
from acclimate_device.storage import FileFlash
from acclimate_device.testing import tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService
from tests.support.mcu_host import GESTURES, HOST
from tests.unit.mcu.conftest import KEY
from tests.unit.mcu.test_decisions import sdk, stream

PUBLIC = KEY.public_key().public_bytes_raw()
EXAMPLE = HOST.parents[2] / "device_sdk" / "mcu" / "examples" / "host.c"


@pytest.fixture(scope="session")
def program(gestures, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("host") / "host"
    folder = gestures[1].with_suffix("")
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    sources = [*map(str, sorted(folder.glob("*.c"))), str(EXAMPLE)]
    subprocess.run(["gcc", *flags, *sources, "-lsodium", "-lm", "-o", str(made)], check=True)
    return made


@pytest.fixture
def board(program, tmp_path):
    """Starts the child's process at the far end of a terminal; the name of the near end."""
    running = []

    def start(key: bytes = PUBLIC, flash: str = "flash") -> str:
        far, near = pty.openpty()
        tty.setraw(near)
        process = subprocess.Popen([str(program), str(tmp_path / flash), key.hex()], stdin=far, stdout=far)
        running.append((process, far, near))
        return os.ttyname(near)

    yield start
    for process, far, near in running:
        process.kill()
        process.wait()
        os.close(far)
        os.close(near)


def test_frames_come_back_and_damaged_ones_do_not() -> None:
    rng = random.Random(0)
    for size in [0, 1, 253, 254, 255, *(rng.randrange(400) for _ in range(200))]:
        plain = bytes(rng.choice((0, rng.randrange(256))) for _ in range(size))
        frame = encoded(plain)
        assert frame.count(0) == 1
        assert decoded(frame[:-1]) == plain
        at = rng.randrange(len(frame) - 1)
        broken = frame[:at] + bytes([frame[at] ^ (1 + rng.randrange(255))]) + frame[at + 1 : -1]
        assert decoded(broken) != plain


def test_a_child_learns_over_its_line_as_the_sdk_does(board) -> None:
    line = Line(open_port(board()))
    windows, classes = stream(0, 60)
    expected, report = sdk(windows, classes)
    predictions = []
    for x, y in zip(windows, classes, strict=True):
        data = np.asarray(x, "<f4").tobytes()
        predictions.append(line.example(Ask.PREDICT, data)[0])
        assert line.example(Ask.LEARN, struct.pack("<i", y) + data)[0] == 0
    assert predictions == expected
    told = read_report(line)
    assert (told["predictions"], told["steps"]) == (report.predictions, report.steps)


def read_report(line: Line) -> dict:
    return json.loads(line.report(0, 60))


def newer(version: int) -> tuple[Release, dict[str, bytes]]:
    """The sample bundle under another version's name."""
    files = dict(tiny_bundle("closed-form"))
    manifest = write(parse_manifest(files[MANIFEST]))
    manifest["release"] = {**manifest["release"], "version": version, "content_hash": f"{version:064x}"}
    made = read(Manifest, manifest)
    return made.release, {**files, MANIFEST: dumps(made)}


@pytest.fixture
def world(tmp_path):
    """A service, and a gateway with one child: assign, then `round`."""
    repository = SimulatedRepository()
    service = SimulatedService(repository)
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "gateway.pem").write_bytes(pem)
    (tmp_path / "token").write_text(service.token)
    own = AgentConfig("https://service.invalid", tmp_path / "state", tmp_path / "root.json")

    def gateway(port: str) -> Gateway:
        child = f'[child.pump-1]\nport = "{port}"\nbundle = "{GESTURES}"\ntoken_file = "token"\n'
        text = f'key = "gateway.pem"\n{child}'
        (tmp_path / "children.toml").write_text(text)

        def agent(config: AgentConfig) -> Agent:
            made = Agent(service, FileFlash(config.state), repository.root, config.state / "tuf")
            if made.identity.enrolled() is None:
                made.service.enrol(config.token_file.read_text(), config.hardware_id, {}, "")
            return made

        return Gateway(GatewayConfig.load(tmp_path / "children.toml", own), agent)

    return service, repository, gateway


def test_a_child_is_a_device_like_any_other(world, board) -> None:
    service, repository, gateway = world
    port = board()
    through = gateway(port)
    assert through.round() == {"pump-1": ""}
    release, files = newer(2)
    repository.publish(files)
    service.assign("run", release)
    assert through.round() == {"pump-1": ""}
    assert Line(open_port(port)).hello().content_hash == release.content_hash
    through._open["pump-1"].child._began = -1e9
    assert through.round() == {"pump-1": ""}
    told = [report for report in service.reports.values() if report.release == release]
    assert told
    assert told[-1].counter == service.state.counter
    assert {event.kind for report in service.reports.values() for event in report.events} >= {
        "installed",
        "confirmed",
    }


def test_a_child_that_trusts_another_key_keeps_what_it_runs(world, board) -> None:
    service, repository, gateway = world
    port = board(key=bytes(range(32)))
    release, files = newer(2)
    repository.publish(files)
    service.assign("run", release)
    through = gateway(port)
    assert through.round() == {"pump-1": ""}
    assert Line(open_port(port)).hello().version == 1
    events = [event for report in service.reports.values() for event in report.events]
    through._open["pump-1"].child._began = -1e9
    through.round()
    events = [event for report in service.reports.values() for event in report.events]
    assert any(event.kind == "returned" and "signature" in event.detail for event in events)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "give `key`"),
        ('key = "gateway.pem"\n', "names no child"),
        ('key = "gateway.pem"\n[child.a]\nport = "x"\n', "'bundle' is missing"),
        ('key = "gateway.pem"\n[child.a]\nport = 3\n', "port is 3"),
        ('key = "gateway.pem"\n[child.a]\nprot = "x"\n', "unknown key 'prot': did you mean 'port'"),
        (
            'key = "k"\n[child.a]\nport = "x"\nbundle = "b"\n[child.b]\nport = "x"\nbundle = "b"\n',
            "2 children have the port 'x'",
        ),
        (
            'key = "k"\n[child.a]\nport = "x"\nbundle = "b"\n'
            '[child.b]\nport = "y"\nbundle = "b"\nhardware_id = "a"\n',
            "2 children have the hardware_id 'a'",
        ),
        ('key = "k"\n[child.a]\nport = "x"\nbundle = "b"\ncontribute = 1\n', "contribute is 1: give a bool"),
        ('key = "gateway.pem"\n[child.a]\nport = "x"\nbundle = ""\n', "bundle is '': give a path"),
        ('key = "a\\u0000b"\n[child.a]\nport = "x"\nbundle = "b"\n', "key is .*: give a path"),
        ("a = " + "[" * 5000, "is not TOML"),
        ('key = "none.pem"\n[child.a]\nport = "x"\nbundle = "b"\n', "No such file"),
    ],
)
def test_a_wrong_file_of_children_is_refused(tmp_path, text: str, why: str) -> None:
    (tmp_path / "children.toml").write_text(text)
    own = AgentConfig("https://service.invalid", tmp_path / "state", tmp_path / "root.json")
    with pytest.raises(ConfigError, match=why):
        GatewayConfig.load(tmp_path / "children.toml", own)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tcp:localhost:99999999", ConfigError),
        ("tcp:localhost:0", ConfigError),
        ("tcp:localhost:\N{SUPERSCRIPT TWO}", ConfigError),
        ("tcp:a..b:1", TransportError),
        ("\0", TransportError),
        ("/dev/none", TransportError),
    ],
)
def test_a_port_that_cannot_be_opened_is_told(name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="port"):
        open_port(name)


def test_two_stop_bits_of_whoever_had_the_line_before_become_one() -> None:
    far, near = pty.openpty()
    settings = termios.tcgetattr(near)
    settings[2] |= termios.CSTOPB
    termios.tcsetattr(near, termios.TCSANOW, settings)
    assert termios.tcgetattr(near)[2] & termios.CSTOPB
    port = open_port(os.ttyname(near))
    assert not termios.tcgetattr(near)[2] & termios.CSTOPB
    port.close()
    os.close(far)
    os.close(near)


def test_a_line_that_takes_no_bytes_holds_up_nobody(monkeypatch) -> None:
    monkeypatch.setattr(ports, "_TAKEN_S", 0.05)
    far, near = pty.openpty()
    tty.setraw(near)
    port = open_port(os.ttyname(near))
    with pytest.raises(TransportError, match="takes no bytes"):
        port.write(bytes(4_000_000))
    port.close()
    os.close(far)
    os.close(near)


def test_a_gateway_holds_more_lines_than_select_knows() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    one, other = os.pipe()
    high = os.dup2(one, 2048)
    port = Port(high, "pipe")
    assert port.read(0.01) == b""
    os.write(other, b"x")
    assert port.read(1.0) == b"x"
    for each in (one, other, high):
        os.close(each)


def test_a_child_whose_line_breaks_leaves_no_descriptor_behind(world) -> None:
    _, _, gateway = world
    listener = socket.create_server(("localhost", 0))

    def hang_up() -> None:
        for _ in range(4):
            listener.accept()[0].close()

    answering = threading.Thread(target=hang_up)
    answering.start()
    through = gateway(f"tcp:localhost:{listener.getsockname()[1]}")
    through.round()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert through.round()["pump-1"]
    answering.join()
    assert len(os.listdir("/proc/self/fd")) == before
    listener.close()


def test_a_child_is_heard_while_the_service_is_away_and_asks_it_as_often_as_that_wants(world, board) -> None:
    service, _, gateway = world
    now = [0.0]
    through = gateway(board())
    through._clock = lambda: now[0]
    assert through.round() == {"pump-1": ""}
    (config,), place = through._config.children, through._open["pump-1"]
    requests = service.requests
    for _ in range(5):
        now[0] += 5.0
        assert through._turn(config, False) == ""
    assert service.requests == requests
    service.offline = True
    now[0] += 100.0
    place.child._began = -1e9
    assert "network is down" in through._turn(config, False)
    assert place.child._began > 0.0  # its report was fetched, and waits
    assert place.due > now[0]
    service.offline = False
    now[0] += 1000.0
    assert through._turn(config, False) == ""
    assert service.reports


def child_began(through: Gateway) -> float:
    return through._open["pump-1"].child._began


def test_a_clock_that_was_set_back_or_is_far_ahead_stops_no_report(world, board) -> None:
    service, _, gateway = world
    through = gateway(board())
    assert through.round() == {"pump-1": ""}
    child, steady = through._open["pump-1"].child, [child_began(through)]
    for shown in (1.0, 2.0**33, -5.0):
        steady[0] += 1000.0
        child._clock = Clock(itertools.repeat(shown).__next__, lambda: steady[0])
        before = len(service.reports)
        assert through.round() == {"pump-1": ""}
        assert len(service.reports) == before + 1
