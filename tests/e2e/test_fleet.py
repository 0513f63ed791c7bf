"""A small fleet of the real SDK against the real service, with everything that goes wrong in the field."""

from collections import Counter

import pytest

from acclimate.simulation import Outcome, Scenario, simulate

pytestmark = pytest.mark.slow
GATES = [{"metric": "loss"}, {"metric": "failure"}, {"metric": "silence"}]
PLAN = {"silence_s": 14_400, "control_share": 0.2, "min_examples": 5, "gates": GATES}
STORY = Scenario(
    name="small-story",
    devices=60,
    duration="4h",
    stream={"every": "2min"},
    policy={"trial_predictions": 5},
    arrivals={"over": "30min", "pattern": "random"},
    offline={"share": 0.2, "every": "3h", "lasts": "20min"},
    network={"refused": 0.05, "lost": 0.05, "cut": 0.2},
    clocks={"skew": "10min", "drift_ppm": 100},
    labels={"share": 0.8, "delay": "2min"},
    faults=[
        {"kind": "power-cut", "share": 0.3, "every": "1h"},
        {"kind": "worn-flash", "share": 0.1, "every": "3h"},
        {"kind": "restart", "share": 0.2, "every": "2h"},
    ],
    drifts=[{"name": "turned", "kind": "other-task", "at": "3h", "share": 0.5}],
    rollouts=[
        {"version": 2, "at": "30min", "waves": "30%, 100%", "min_devices": 8, "plan": PLAN},
        {"version": 3, "at": "100min", "waves": "30%, 100%", "min_devices": 8, "plan": PLAN}
        | {"behaviour": "broken"},
    ],
    service={"poll": "10min", "tick": "5min"},
)


@pytest.fixture(scope="module")
def story() -> Outcome:
    return simulate(STORY)


def test_a_good_version_passes_and_a_broken_one_is_rolled_back_in_its_first_wave(story: Outcome):
    ended = {version: (state, wave) for _, version, state, wave, _ in story.rollouts}
    assert ended[2][0] == "done"
    assert ended[3] in {("rolling_back", 1), ("rolled_back", 1)}
    reason = next(reason for *_, state, _, reason in story.rollouts if state == "rolling_back")
    assert "failure" in reason
    ran = {report.release.version for one in story.devices for _, report in one.reports}
    assert ran == {1, 2}


def test_whatever_fails_every_device_ends_on_a_version_that_loads(story: Outcome):
    assert all(device.runs is not None for device in story.devices)
    assert {happening.kind for happening in story.happenings} >= {"restarted", "offline", "drift-began"}


def test_acknowledged_equals_counted(story: Outcome):
    made = sum(len(device.reports) for device in story.devices)
    cuts = sum(one.kind == "restarted" and one.detail == "power cut" for one in story.happenings)
    assert story.acknowledged == story.counted["reports"]
    assert made - cuts <= story.acknowledged <= made  # a cut tears the one report that is being written
    assert all(device.waiting == 0 for device in story.devices)


def test_reports_cover_the_time_that_devices_lived(story: Outcome):
    """A report covers three polls and ends with the next round after them, a quarter of an hour late at most
    while rounds fail. What a restart cuts off of an open one is the only time that nobody hears of."""
    longest = 3 * STORY.service.poll + 900.0
    empty = STORY.stream.every  # the last window, where nothing was predicted in it
    ends = story.started_at + story.duration_s
    began = {one.device: one.at for one in story.happenings if one.kind == "enrolled"}
    restarts = Counter(one.device for one in story.happenings if one.kind == "restarted")
    assert sum(device.number not in restarts for device in story.devices) > 20
    for device in story.devices:
        spans = [report.ended_at - report.started_at for _, report in device.reports]
        assert max(spans) <= longest
        unheard = ends - began[device.number] - sum(spans)
        assert -10.0 <= unheard <= 10.0 + empty + restarts[device.number] * longest
        assert len(spans) >= (ends - began[device.number]) / longest - restarts[device.number]


def test_devices_that_were_turned_adapt_again(story: Outcome):
    recovered = [one for one in story.detections() if one.loss_after is not None]
    assert recovered
    last_hour = story.windows(1_200.0, {one.device for one in recovered})[-2]
    assert last_hour.loss is not None
    assert last_hour.loss < 0.5  # guessing costs 1.1


def test_a_seed_replays_bit_by_bit_and_another_does_not():
    rollout = STORY.rollouts[0].model_copy(update={"min_devices": 1})
    small = STORY.model_copy(update={"devices": 8, "duration": 7_200.0, "rollouts": (rollout,)})
    first, again = simulate(small), simulate(small, processes=3)
    other = simulate(small.model_copy(update={"seed": 1}))
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()
