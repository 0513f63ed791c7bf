import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain.retraining import Drifted, RetrainingRule, Trigger
from tests.support.rollout_samples import OLD


@pytest.mark.parametrize(
    ("rule", "devices", "drifted", "expected"),
    [
        (RetrainingRule(drift_share=0.3), 100, 30, True),
        (RetrainingRule(drift_share=0.3), 100, 29, False),
        (RetrainingRule(drift_share=0.3, min_devices=20), 19, 19, False),
        (RetrainingRule(drift_share=0.0), 100, 100, False),
        (RetrainingRule(drift_share=0.3), 0, 0, False),
    ],
)
def test_enough_devices_must_have_drifted(rule, devices, drifted, expected):
    assert rule.calls_for(Drifted(devices, drifted, since=0.0)) is expected


def test_a_rule_that_would_count_drift_twice_is_refused():
    with pytest.raises(RolloutError, match="cooldown at least as long as the window"):
        RetrainingRule(window_s=100, cooldown_s=99)


def test_a_share_is_a_share():
    with pytest.raises(RolloutError, match="30: use 0 to 1"):
        RetrainingRule(drift_share=30)


def test_the_lineage_says_what_called_for_it():
    trigger = Trigger("t-1", "home", OLD, "alertmanager", "ada", "AcclimateFleetDrifts", Drifted(8, 2, 0.0))
    tags = trigger.tags()
    assert (tags["parent_version"], tags["trigger"], tags["fleet"]) == ("1", "alertmanager", "home")
    assert (tags["drifted_devices"], tags["reporting_devices"], tags["drift_share"]) == ("2", "8", "0.2500")


def test_a_person_may_ask_where_nothing_reported():
    tags = Trigger("t-1", "home", OLD, "operator", "ada", "", Drifted(0, 0, 0.0)).tags()
    assert (tags["reporting_devices"], tags["drift_share"]) == ("0", "0.0000")
