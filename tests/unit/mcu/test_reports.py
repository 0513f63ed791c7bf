"""A window's report crosses a line that breaks, and a gateway that stops, once."""

from __future__ import annotations

import pytest

from acclimate_device.clock import Clock
from acclimate_device.errors import TransportError
from acclimate_device.mcu.child import Child
from acclimate_device.mcu.line import Ask, decoded
from acclimate_device.protocol import Report, loads
from acclimate_device.storage import Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import SimulatedFlash, tiny_bundle
from tests.support.mcu_host import HostDevice
from tests.unit.mcu.conftest import KEY
from tests.unit.mcu.test_decisions import stream
from tests.unit.mcu.test_moments import Wire, line_to
from tests.unit.mcu.test_trouble import child_of

WINDOW_S = 900.0


@pytest.fixture
def device(gestures) -> HostDevice:
    return child_of(gestures)


class Breaking(Wire):
    """A line that breaks at some answer to `REST`."""

    left = 1

    def write(self, data: bytes) -> None:
        plain = decoded(data.strip(b"\0"))
        if plain is not None and plain[0] == Ask.REST:
            self.left -= 1
            if self.left == 0:
                raise TransportError("the line is broken")
        super().write(data)


@pytest.mark.parametrize("at", [1, 2])
def test_a_report_that_a_broken_line_cut_is_given_again(device, at: int) -> None:
    device.stream(*stream(0, 40))
    line = line_to(device)
    line._stream = wire = Breaking(device)
    wire.left = at
    with pytest.raises(TransportError, match="broken"):
        line.report(0, 60)
    device.stream(*stream(1, 5))
    first, second = (loads(Report, line.report(60, 120), 65536) for _ in range(2))
    assert (first.predictions, second.predictions) == (40, 5)
    assert (first.ended_at, second.started_at) == (60, 60)


class Deaf:
    """Loses every answer to `REST` after the first `heard`, while it is told to."""

    def __init__(self, heard: int) -> None:
        self.heard = heard

    def __call__(self, frame: bytes) -> bytes:
        plain = decoded(frame.strip(b"\0")) if frame else None
        if plain is None or plain[0] != Ask.REST | 0x80:
            return frame
        self.heard -= 1
        return frame if self.heard >= 0 else b""


@pytest.mark.parametrize("heard", [0, 1, 2])
def test_a_report_whose_last_answer_is_lost_each_time_is_given_again(device, heard: int) -> None:
    device.stream(*stream(0, 40))
    line = line_to(device, deaf := Deaf(heard))
    with pytest.raises(TransportError, match="no answer to rest"):
        line.report(0, 60)
    deaf.heard = 1000
    device.stream(*stream(1, 5))
    first, second = (loads(Report, line.report(60, 120), 65536) for _ in range(2))
    assert (first.predictions, second.predictions) == (40, 5)


class Gateway:
    """Of one child, whose reports it queues; time passes by hand."""

    def __init__(self, device: HostDevice) -> None:
        self.device, self.store, self.now = device, Store(SimulatedFlash()), 1.7e9
        self.deaf = Deaf(1000)
        self.start()

    def start(self) -> None:
        clock = Clock(lambda: self.now, lambda: self.now)
        line = line_to(self.device, self.deaf)
        self.child = Child(line, self.store, tiny_bundle("closed-form").get, KEY.sign, clock)

    def window(self, seed: int, examples: int) -> None:
        self.device.stream(*stream(seed, examples))
        self.now += WINDOW_S
        self.child.step()

    @property
    def queued(self) -> list[Report]:
        return list(ReportQueue(self.store).reports())


def test_a_report_that_did_not_arrive_comes_before_the_next_and_each_once(device) -> None:
    gateway = Gateway(device)
    gateway.child.step()
    gateway.deaf.heard = 1
    with pytest.raises(TransportError, match="no answer to rest"):
        gateway.window(0, 40)
    gateway.deaf.heard = 1000
    gateway.child.reconnect(line_to(device, gateway.deaf))
    gateway.child._notes.append(("reset", "assignment", ""))
    gateway.window(1, 5)
    gateway.window(2, 7)
    assert [[event.kind for event in one.events] for one in gateway.queued] == [[], ["reset"], []]
    assert [one.predictions for one in gateway.queued] == [40, 5, 7]
    assert [one.ended_at - one.started_at for one in gateway.queued] == [WINDOW_S, 2 * WINDOW_S, WINDOW_S]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_report_that_is_given_twice_counts_once(device, stopped: bool) -> None:
    """The gateway stops, or opens the line anew, before the child knows that its report was queued."""
    gateway = Gateway(device)
    gateway.child.step()
    gateway.window(0, 40)
    if stopped:
        gateway.start()
    else:
        gateway.child.reconnect(line_to(device, gateway.deaf))
    gateway.window(1, 5)
    counted = {one.id: one.predictions for one in gateway.queued}
    assert sorted(counted.values()) == [5, 40]
    assert len(gateway.queued) == 2 + stopped, "the service takes each id once"
