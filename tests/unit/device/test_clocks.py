"""Wall clocks that leap, stand at no date or are corrected: nothing waits for them."""

from pathlib import Path

import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.clock import Clock
from acclimate_device.protocol import LIMITS
from acclimate_device.storage import CLOCK, Boot, Mishap, Store
from acclimate_device.telemetry.told import moment
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from tests.support.gateway import Gateway, release_of
from tests.unit.device.test_trouble import reports

DAY = 86_400.0


@pytest.mark.parametrize("leap", [3600.0, -3600.0, 10 * 365 * DAY, -1.79e9])
@pytest.mark.parametrize("steady", [True, False])
def test_reports_and_saved_state_do_not_wait_for_the_wall_clock(leap: float, steady: bool) -> None:
    """A window a second for an hour; after half a minute the clock is set by `leap`."""
    flash, stream, wall, age = SimulatedFlash(), GestureDevice(1), [1.795e9], [0.0]
    policy = OnlinePolicy(report_s=60, save_s=60)
    learner = Device(tiny_bundle().get, flash, policy, clock=lambda: wall[0])
    if steady:
        Clock.__init__(learner._life.clock, lambda: wall[0], lambda: age[0])
        learner._life.recorder.began = learner._life.clock.elapsed()
    for second in range(3600):
        wall[0] += 1.0 + (leap if second == 30 else 0.0)
        age[0] += 1.0
        if second % 5 == 0:
            learner.learn_one(*stream.example())
        learner.tick()
    learner.close()
    waiting = reports(flash)
    assert 58 <= len(waiting) <= 62
    assert all(one.ended_at >= one.started_at for one in waiting)
    assert flash.names("adapted")
    jumps = [event for one in waiting for event in one.events if event.kind == "clock_jumped"]
    if steady or leap < 0:
        assert [event.detail for event in jumps] == [f"{leap:+.0f} s"] if steady else jumps
        assert max(one.ended_at - one.started_at for one in waiting) < 70.0
        assert learner.health.clock_leaps == 1


@pytest.mark.parametrize("wall", [-5.0, 0.0, 100.0, 2.0**33, 1e12])
def test_a_report_outlives_a_clock_that_no_calendar_has(tmp_path: Path, wall: float) -> None:
    gateway = Gateway(tmp_path)
    gateway.use(3)
    gateway.device._life.clock._wall = lambda: wall
    gateway.use(3)
    gateway.device.close()
    gateway.agent._outbox._clock = lambda: wall
    found = Mishap("set_aside", "outbox/foreign", "")
    gateway.agent._outbox.tell_mishaps((found,), Boot(release=release_of(2)))
    gateway.agent.round()
    got = gateway.service.reports.values()
    assert sum(one.predictions for one in got) == 6
    assert "set_aside" in {event.kind for one in got for event in one.events}


def test_a_clock_that_is_slewed_or_sleeps_does_not_leap() -> None:
    wall, steady = [1e9], [0.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    for _ in range(100):
        wall[0] += 10.005
        steady[0] += 10.0
        assert clock.leapt() == 0.0
    assert Clock().leapt() == 0.0
    before = Clock().elapsed()
    assert 0.0 <= Clock().elapsed() - before < 5.0


def test_the_agent_tells_the_application_how_far_the_clock_is_off(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    request = gateway.service.request
    ahead = [0.0]

    def dated(*args: object, **kwargs: object):
        answer = request(*args, **kwargs)
        from email.utils import formatdate

        answer.headers["date"] = formatdate(gateway.now + ahead[0], usegmt=True)
        return answer

    gateway.service.request = dated
    ahead[0] = 7200.0
    gateway.agent.poll()
    assert Store(gateway.flash).read(CLOCK) == b"7200"
    gateway.use(5)
    gateway.device.close()
    assert reports(gateway.flash)[-1].clock_offset_s == 7200.0


@pytest.mark.parametrize(
    ("kept", "told"),
    [(b"-7.5", -7.5), (b"1e12", 0.0), (b"NaN", 0.0), (b"[]", 0.0), (b'"1"', 1.0), (b"{", 0.0)],
)
def test_an_offset_that_no_calendar_has_is_none(kept: bytes, told: float) -> None:
    flash = SimulatedFlash()
    Store(flash).write(CLOCK, kept)
    assert Device(tiny_bundle().get, flash)._life.keeping.clock_offset_s() == told


@pytest.mark.parametrize(("at", "told"), [(1.23456, 1.235), (-3.0, 0.0), (1e12, LIMITS.time_s[1])])
def test_a_moment_is_told_to_the_millisecond_as_near_as_the_protocol_has_it(at: float, told: float) -> None:
    assert moment(at) == told
