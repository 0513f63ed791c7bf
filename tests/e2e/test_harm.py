"""A version that loads but cannot be adapted, against the gate on the loss, while the fleet lives on."""

import pytest

from acclimate.simulation import Outcome, Scenario, simulate

pytestmark = pytest.mark.slow
DEVICES, FIRST_WAVE = 60, 0.4
AT_S, BEFORE_S = 5_400.0, 3_600.0
STORY = Scenario(
    name="harm",
    devices=DEVICES,
    duration="4h",
    stream={"every": "2min"},
    arrivals={"over": "15min", "pattern": "random"},
    offline={"share": 0.2, "every": "2h", "lasts": "15min"},
    labels={"share": 0.8, "delay": "1min"},
    policy={"trial_predictions": 5},
    rollouts=[
        {
            "version": 2,
            "at": AT_S,
            "behaviour": "harmful",
            "waves": f"{FIRST_WAVE:.0%}, 100%",
            "min_devices": 15,
            "plan": {"control_share": 0.4, "min_examples": 5, "gates": [{"metric": "loss"}]},
        }
    ],
    service={"poll": "10min", "tick": "5min"},
)


@pytest.fixture(scope="module")
def story() -> Outcome:
    return simulate(STORY)


def test_the_loss_gate_stops_it_in_its_first_wave(story: Outcome):
    states = [(state, wave) for _, _, state, wave, _ in story.rollouts]
    assert states[-1] == ("rolled_back", 1)
    reason = next(reason for *_, state, _, reason in story.rollouts if state == "rolling_back")
    assert "mean loss is" in reason
    assert "higher than control's" in reason
    assert "harm is proven" in reason


def test_no_device_beyond_the_first_wave_ever_ran_it(story: Outcome):
    ran = {one.number for one in story.devices for _, report in one.reports if report.release.version == 2}
    assert 15 <= len(ran) <= DEVICES * FIRST_WAVE * 1.5


def test_the_fleet_ends_on_the_old_version_and_is_as_good_as_before(story: Outcome):
    assert story.versions() == {"gestures@1": DEVICES}
    ran = {one.number for one in story.devices for _, report in one.reports if report.release.version == 2}
    before, *_, last = story.windows(BEFORE_S, ran)
    assert before.loss is not None
    assert last.loss is not None
    assert last.loss < 0.5  # guessing costs 1.1
    worst = max(
        report.adapted_loss.sum / report.adapted_loss.count
        for one in story.devices
        for _, report in one.reports
        if report.release.version == 2 and report.adapted_loss.count
    )
    assert worst > 0.5, "the version did no harm"


def test_what_devices_said_meanwhile_is_all_there(story: Outcome):
    assert story.acknowledged == story.counted["reports"] > DEVICES * 5
    assert all(device.waiting == 0 for device in story.devices)
