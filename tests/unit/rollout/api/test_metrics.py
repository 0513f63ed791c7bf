from acclimate.rollout.api.metrics import release_metrics, rollout_metrics
from acclimate.rollout.domain.evidence import Decision, GateEvidence, Observation, Verdict
from acclimate.rollout.domain.plan import DEFAULT_GATES, DEFAULT_WAVES, Plan
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.store import Counts
from acclimate_device.protocol import Release

RELEASE = Release("press", 2, "a" * 64)
PLAN = Plan("plant", RELEASE, DEFAULT_WAVES, DEFAULT_GATES)


def samples(families) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def hour(number: int, reports: int) -> Counts:
    return Counts("plant", RELEASE, number * 3600.0, reports, 10, 4.0, 5, 1.5, 100, 1, 0, 2, 0, 3, 0)


def test_hours_add_up_by_fleet_and_release():
    found = samples(release_metrics([hour(1, 3), hour(2, 4)]))
    assert found["acclimate_reports_total", "plant", "press", "2"] == 7
    assert found["acclimate_adapted_loss_sum_total", "plant", "press", "2"] == 3.0
    assert found["acclimate_drifts_total", "plant", "press", "2"] == 4
    assert found["acclimate_alarms_total", "plant", "press", "2"] == 6


def test_a_live_rollout_shows_its_arms_and_its_evidence():
    rollout = Rollout("r-1", PLAN, 0.0, "ada", State.RUNNING)
    observations = [
        Observation("a", "canary", 1, 0.0, 1, "a" * 64, order=1, examples=2, loss_sum=1.0, drift=True),
        Observation("b", "canary", 1, 0.0, 1, "a" * 64, order=2, examples=2, loss_sum=2.0),
        Observation("c", "control", 1, 0.0, 1, "b" * 64, order=3, examples=1, loss_sum=2.0),
        Observation("d", "control", 1, 0.0, 1, "b" * 64),
    ]
    gate = GateEvidence("loss", Verdict.PASS, "", 0.05, 2, 1, 0.75, 2.0, -1.25, None, 0.5)
    decision = Decision("r-1", 0.0, "wait", "", "controller", 1, (gate,))
    found = samples(rollout_metrics([(rollout, observations, decision)]))
    release = ("plant", "press", "2")
    assert found["acclimate_rollout_state", *release, "running"] == 1
    assert found["acclimate_rollout_state", *release, "paused"] == 0
    assert found["acclimate_rollout_devices", *release, "control"] == 2
    assert found["acclimate_rollout_loss", *release, "canary"] == 0.75
    assert found["acclimate_rollout_device_share", *release, "canary", "drift"] == 0.5
    assert found["acclimate_gate_difference", *release, "loss", "difference"] == -1.25
    assert ("acclimate_gate_difference", *release, "loss", "lower") not in found, "unbounded is not zero"


def test_no_series_names_a_device():
    rollout = Rollout("r-1", PLAN, 0.0, "ada", State.RUNNING)
    observations = [Observation(f"device-{n}", "canary", 1, 0.0, 1, "a" * 64, order=n) for n in range(1, 500)]
    found = samples(rollout_metrics([(rollout, observations, None)]))
    assert len(found) < 30
    assert not any("device-" in label for key in found for label in key)
