"""What the world does to a child and its gateway: brown-outs, two gateways, dead children, clocks of 1970."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest

from acclimate_device.agent import gateway as gateways
from acclimate_device.agent.config import AgentConfig
from acclimate_device.agent.gateway import ChildConfig, Gateway, GatewayConfig
from acclimate_device.bundle import Bundle, parse_manifest
from acclimate_device.clock import Clock
from acclimate_device.errors import TransportError
from acclimate_device.mcu.child import Child
from acclimate_device.mcu.line import Ask, Line, decoded
from acclimate_device.mcu.weights import blob
from acclimate_device.protocol import MANIFEST
from acclimate_device.storage import Store
from acclimate_device.testing import SimulatedFlash, tiny_bundle
from tests.support.mcu_host import GESTURES, HostDevice
from tests.unit.mcu.conftest import KEY, verify
from tests.unit.mcu.test_decisions import stream
from tests.unit.mcu.test_gateway import newer, world  # noqa: F401
from tests.unit.mcu.test_moments import Wire, line_to

NOT_UNDERSTOOD = -11


def child_of(gestures) -> HostDevice:
    made, library = gestures
    public = KEY.public_key().public_bytes_raw()
    return HostDevice(library, made.files["weights.blob"], verify=verify, key=public)


def labelled() -> bytes:
    windows, classes = stream(0, 1)
    return struct.pack("<i", classes[0]) + np.asarray(windows[0], "<f4").tobytes()


def piece(line, data: bytes, first: int, last: int) -> int:
    return line.ask(Ask.LEARN, struct.pack("<I", first) + data[first:last])[0]


def test_a_restart_amid_an_example_teaches_nothing(gestures) -> None:
    device, data = child_of(gestures), labelled()
    line = line_to(device)
    assert piece(line, data, 0, 40) == 0
    device.restart()
    assert piece(line, data, 40, 100) == NOT_UNDERSTOOD
    assert device.counts["steps"] == 0
    assert line.example(Ask.LEARN, data)[0] == 0
    assert device.counts["steps"] == 1


def test_the_examples_of_two_gateways_are_not_mixed(gestures) -> None:
    device, data = child_of(gestures), labelled()
    one, two = line_to(device), line_to(device)
    one._sequence, two._sequence = 10, 200
    assert piece(one, data, 0, 40) == piece(two, data, 0, 40) == 0
    assert piece(one, data, 40, 100) == NOT_UNDERSTOOD
    assert piece(two, data, 0, 40) == piece(two, data, 40, 100) == 0
    line_to(device).report(0, 60)  # takes the memory that pieces wait in
    assert piece(two, data, 0, 40) == 0
    one.report(0, 60)
    assert piece(two, data, 40, 100) == NOT_UNDERSTOOD


class BrownOut(Wire):
    """A line to a child that restarts at some pieces of weights, counted from 1; the next `broken` frames, or
    those of one kind, do not leave."""

    def __init__(self, device: HostDevice, at: tuple[int, ...]) -> None:
        super().__init__(device)
        self.at, self.pieces, self.broken, self.kind = at, 0, 0, 0

    def write(self, data: bytes) -> None:
        plain = decoded(data.strip(b"\0"))
        if self.broken and plain is not None and self.kind in (0, plain[0]):
            self.broken -= 1
            raise TransportError("the line is broken")
        if plain is not None and plain[0] in (Ask.DATA, Ask.FINISH):
            self.pieces += 1
            if self.pieces in self.at:
                self.device.restart()
        super().write(data)

    def close(self) -> None:
        pass


@pytest.fixture
def updated(world, gestures, monkeypatch):  # noqa: F811
    """A child in touch, and a release that is assigned to it and not yet sent."""
    service, repository, gateway = world
    device = child_of(gestures)
    wire = BrownOut(device, ())
    monkeypatch.setattr(gateways, "open_port", lambda name, baud: wire)
    through = gateway("in this process")
    assert through.round() == {"pump-1": ""}
    release, files = newer(2)
    repository.publish(files)
    service.assign("run", release)
    return service, through, wire, release


@pytest.mark.parametrize("at", [1, 5, 9])
def test_an_update_that_a_brown_out_stopped_is_sent_again(at: int, updated, gestures) -> None:
    """At a piece, the first or a later one, or at the end: the child refused nothing."""
    service, through, wire, release = updated
    pieces = -(-len(child_blob(gestures)) // 236) + 1
    wire.at = (min(at, pieces),)
    assert "lost the weights" in through.round()["pump-1"]
    assert through.round() == {"pump-1": ""}
    assert line_to(wire.device).hello().content_hash == release.content_hash
    kinds = {event.kind for report in service.reports.values() for event in report.events}
    assert "returned" not in kinds


def runs(wire: BrownOut) -> str:
    return line_to(wire.device).hello().content_hash


def told(service, through) -> dict[str, str]:
    """The events reported, once the window is over."""
    through._open["pump-1"].child._began = -1e9
    assert through.round() == {"pump-1": ""}
    return {event.kind: event.detail for report in service.reports.values() for event in report.events}


@pytest.mark.parametrize(("times", "taken"), [(2, True), (3, False)])
def test_a_brown_out_costs_one_of_three_starts_and_silence_none(times: int, taken: bool, updated) -> None:
    service, through, wire, release = updated
    for _ in range(times):
        wire.at = (wire.pieces + 2,)
        assert "lost the weights" in through.round()["pump-1"]
        wire.broken = 3
        assert [through.round()["pump-1"] for _ in range(3)] == ["the line is broken"] * 3
    assert through.round() == {"pump-1": ""}
    assert (runs(wire) == release.content_hash) is taken
    events = told(service, through)
    assert ("confirmed" in events, "did not prove" in events.get("returned", "")) == (taken, not taken)


def test_a_child_that_took_a_version_and_fell_silent_runs_what_is_reported(updated, monkeypatch) -> None:
    service, through, wire, release = updated
    sent = Line.send_weights

    def then_silent(line: Line, data: bytes) -> int:
        taken, wire.broken = sent(line, data), 3
        return taken

    monkeypatch.setattr(Line, "send_weights", then_silent)
    assert [through.round()["pump-1"] for _ in range(3)] == ["the line is broken"] * 3
    assert through.round() == {"pump-1": ""}
    assert "confirmed" in told(service, through)
    assert runs(wire) == list(service.reports.values())[-1].release.content_hash == release.content_hash


def test_a_board_that_takes_anothers_place_is_sent_what_that_ran(updated, gestures) -> None:
    _, through, wire, release = updated
    assert through.round() == {"pump-1": ""}
    wire.device = child_of(gestures)
    assert runs(wire) != release.content_hash
    assert through.round() == {"pump-1": ""}
    assert runs(wire) == release.content_hash


def test_a_child_that_runs_what_its_gateway_does_not_hold_is_sent_that(updated) -> None:
    _, through, wire, release = updated
    assert through.round() == {"pump-1": ""}
    assert runs(wire) == release.content_hash
    _, files = newer(3)
    other = Bundle(parse_manifest(files[MANIFEST]), files)
    assert line_to(wire.device).send_weights(blob(other, 100, KEY.sign)) == 0
    assert through.round() == {"pump-1": ""}
    assert runs(wire) == release.content_hash


def test_a_child_that_refuses_what_its_gateway_holds_is_sent_it_once(updated) -> None:
    service, through, wire, _ = updated
    place = through._open["pump-1"]
    place.child._sign = lambda message: bytes(64)
    _, files = newer(3)
    other = Bundle(parse_manifest(files[MANIFEST]), files)
    assert line_to(wire.device).send_weights(blob(other, 100, KEY.sign)) == 0
    assert through.round() == {"pump-1": ""}
    pieces = wire.pieces
    assert through.round() == {"pump-1": ""}
    assert wire.pieces == pieces
    assert "signature" in told(service, through)["returned"]


def test_what_is_to_be_told_outlives_a_broken_line(updated) -> None:
    service, through, wire, _ = updated
    through._open["pump-1"].child._sign = lambda message: bytes(64)
    assert through.round() == {"pump-1": ""}
    wire.broken = 3
    assert [through.round()["pump-1"] for _ in range(3)] == ["the line is broken"] * 3
    assert "signature" in told(service, through)["returned"]


def test_a_reset_that_did_not_reach_a_child_is_asked_again(updated) -> None:
    service, through, wire, release = updated
    assert through.round() == {"pump-1": ""}
    device = wire.device
    windows, classes = stream(0, 40)
    device.stream(windows, classes)
    assert line_to(device).hello().adapted
    service.assign("reset", release)
    wire.broken, wire.kind = 2, Ask.RESET
    assert [through.round()["pump-1"] for _ in range(2)] == ["the line is broken"] * 2
    assert line_to(device).hello().adapted
    assert through.round() == {"pump-1": ""}
    assert not line_to(device).hello().adapted
    assert "reset" in told(service, through)


def child_blob(gestures) -> bytes:
    return gestures[0].files["weights.blob"]


def test_a_dead_child_does_not_hold_up_the_others(tmp_path) -> None:
    """Its line is tried less and less often: silence costs its gateway fifteen seconds each time."""
    tries, now = [], [0.0]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    peer = server.accept()[0]
                except OSError:
                    return
                tries.append(now[0])
                peer.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        port = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        own = AgentConfig("https://service.invalid", tmp_path / "state", tmp_path / "root.json")
        child = ChildConfig("pump-1", port, 115200, GESTURES, own)

        def no_agent(config: AgentConfig):
            raise TransportError("the service is away")

        through = Gateway(GatewayConfig(KEY.sign, (child,)), no_agent, lambda: now[0])
        for at in range(0, 3600, 5):
            now[0] = float(at)
            through._turn(child, False)
        assert 8 <= len(tries) <= 20
        assert max(np.diff(tries)) <= 300.0
        before = len(tries)
        assert "pump-1" in through.round()
        assert len(tries) == before + 1, "a person who asks is not put off"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5.0)


def test_a_gateway_without_a_clock_reports_windows_that_were(gestures) -> None:
    """It boots in 1970 and is set right by the network ten seconds later."""
    wall, steady, reports = [30.0], [30.0], []
    clock = Clock(lambda: wall[0], lambda: steady[0])
    child = Child(
        line_to(child_of(gestures)), Store(SimulatedFlash()), tiny_bundle("closed-form").get, KEY.sign, clock,
        on_report=reports.append,
    )  # fmt: skip
    child.step()
    wall[0], steady[0] = 1.7e9, 40.0
    child.step()
    assert reports == [], "ten seconds are no window of fifteen minutes"
    wall[0], steady[0] = 1.7e9 + 900.0, 940.0
    child.step()
    (told,) = reports
    assert (told.started_at, told.ended_at) == (1.7e9 - 10.0, 1.7e9 + 900.0)
