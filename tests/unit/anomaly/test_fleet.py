"""From recordings to a fleet's normal: alarms counted by hand, figures against scikit-learn, a whole fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from acclimate.anomaly.alarms import MONTH_S, Budget, alarms, false_alarms, found, threshold_within
from acclimate.anomaly.fleet import fit
from acclimate.anomaly.judge import auroc, average_precision
from acclimate.anomaly.windows import Windows
from acclimate.errors import DataError, RecipeError, TrainingError
from acclimate.tasks import RecordingSchema, from_frame
from acclimate.tasks.building.build import build_in_memory
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.workflow import compare
from acclimate.workflow.normal import fit_normal
from bench.field_runs import Silent

HOUR = Budget(a_month=30.0, quiet=2, window_s=3600.0)


def test_alarms_within_the_quiet_time_are_one():
    scores = np.array([0, 9, 0, 9, 0, 0, 0, 9, 9, 0.0])
    assert alarms(scores, 5, quiet=2).tolist() == [1, 7]
    assert alarms(scores, 5, quiet=1).tolist() == [1, 3, 7]


def test_an_alarm_is_false_unless_an_anomaly_was_just_now():
    scores = np.array([9, 0, 0, 0, 9, 0, 0, 0, 0, 9.0])
    normal = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1], bool)  # row 4 still rings of row 3
    assert false_alarms(scores, normal, 5, quiet=2) == 2
    assert found(scores, normal, 5) == (0, 1)
    assert found(scores, ~normal, 5) == (2, 2)


def test_the_threshold_is_the_lowest_that_keeps_the_budget():
    random = np.random.default_rng(0)
    devices = [(random.exponential(size=7306), np.ones(7306, bool)) for _ in range(6)]  # ten months each
    threshold = threshold_within(devices, HOUR)
    rates = [false_alarms(scores, normal, threshold, 2) / 10 for scores, normal in devices]
    assert HOUR.months(7306) == pytest.approx(7306 * 3600 / MONTH_S)
    assert 20 < np.mean(rates) <= 30
    assert threshold_within(devices, Budget(1.0, 2, 3600.0)) > threshold


def test_few_devices_that_differ_keep_the_budget_by_a_wider_margin():
    random = np.random.default_rng(0)
    months = [np.ones(7306, bool)] * 4
    alike = [(random.exponential(size=7306), each) for each in months]
    apart = [
        (scores * scale, normal) for scale, (scores, normal) in zip((0.7, 0.9, 1, 1.4), alike, strict=True)
    ]
    rates = []
    for devices in (alike, apart):
        threshold = threshold_within(devices, HOUR)
        rates.append(np.mean([false_alarms(*one, threshold, 2) / 10 for one in devices]))
    assert rates[0] <= 30
    assert rates[1] < 0.6 * rates[0]


@pytest.mark.parametrize(("freedom", "tails"), [(2.0, (1.0, 1.5, 2.0, 3.0)), (np.inf, (10.0, 30.0, 100.0))])
def test_tails_are_as_heavy_as_those_of_later_windows(freedom, tails):
    random = np.random.default_rng(1)

    def device() -> Windows:
        rows = random.standard_t(freedom, (800, 3)) if np.isfinite(freedom) else random.normal(size=(800, 3))
        return Windows(rows + random.normal(size=3), np.ones(800, bool), 400, 400)

    found = fit([device() for _ in range(6)], 200, HOUR)
    assert found.prior.tail in tails


def test_a_budget_needs_to_know_how_long_a_row_lasts():
    with pytest.raises(DataError, match="sample_rate_hz"):
        Budget.of(30.0, 12, 1, None)


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_auroc_are_scikit_learn_s(seed):
    random = np.random.default_rng(seed)
    positive = random.random(500) < 0.1
    scores = np.round(random.normal(size=500) + positive, 1)  # with ties
    assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores))
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(average_precision(scores, np.zeros(500, bool)))


ROWS = 600


def fleet(devices: int = 10) -> pd.DataFrame:
    """Hourly readings of two channels around a level and with a slope of each device's own.

    In the second half, one row in thirty departs from the device's own line to where others lie.
    """
    random = np.random.default_rng(5)
    parts = []
    for device in range(devices):
        level, slope = 3 * random.normal(size=2), random.normal()
        load = random.normal(size=ROWS)
        y = np.stack([load, slope * load + 0.2 * random.normal(size=ROWS)], 1) + level
        strange = (np.arange(ROWS) > ROWS // 2) & (np.arange(ROWS) % 30 == 7)
        y[strange, 1] += 2.5
        state = np.full(ROWS, "fine", object)
        state[: ROWS // 2], state[strange] = None, "odd"
        parts.append(pd.DataFrame({"pump": f"p{device}", "hour": np.arange(ROWS), "state": state}))
        parts[-1][["a", "b"]] = y
    return pd.concat(parts, ignore_index=True)


def recipe(tmp_path, monkeypatch, **changes) -> Recipe:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    fleet().to_parquet(tmp_path / "pumps.parquet")
    document = {
        "name": "pumps",
        "data": {
            "source": str(tmp_path / "pumps.parquet"),
            "recordings": {
                "kind": "anomaly",
                "task": "pump",
                "time": "hour",
                "label": "state",
                "normal": ["fine"],
                "channels": ["a", "b"],
                "sample_rate_hz": 1 / 3600,
            },
            "test": 4,
            "validation": 0,
        },
        "episodes": {"shots": 100},
        "model": {"name": "levels"},
        "learner": {"algorithm": "closed-form"},
    }
    return Recipe.model_validate(document | changes)


def test_own_windows_find_what_the_fleet_cannot_within_the_budget(tmp_path, monkeypatch):
    problem = open_problem(recipe(tmp_path, monkeypatch))
    initialization, evaluation = fit_normal(problem, Silent().on_evaluation)
    adapted, fleet_alone = (evaluation.curve(start, 100).judged for start in ("meta", "joint"))
    assert adapted.mean > 0.9 > fleet_alone.mean + 0.3
    details = evaluation.curve("meta", 100).details
    assert details["false_alarms_a_month"] <= 30
    assert details["anomalies_found"] > 0.8
    assert set(initialization.prior) == {
        f"normal.{part}" for part in ("mean", "between", "within", "numbers")
    }
    again, _ = fit_normal(open_problem(problem.recipe), Silent().on_evaluation)
    assert again.content_hash() == initialization.content_hash()


def test_compare_judges_every_device_beside_the_fleet_and_the_device_alone(tmp_path, monkeypatch):
    found = compare(recipe(tmp_path, monkeypatch), tmp_path / "found", folds=3, workers=0)
    assert found is not None
    assert (found.found.metric, found.found.devices) == ("average_precision", 10)
    assert [(entry.start, entry.model) for entry in found.found.entries if not entry.failed] == [
        ("meta", "levels"),
        ("device_only", "levels"),
        ("joint", "levels"),
    ]
    assert all(entry.validation is not None for entry in found.found.entries)
    # A hundred windows of its own say all of a device's line: nothing needs to be shipped.
    assert (found.found.recommended, found.recommended) == ("device only on levels", None)


def test_folds_without_an_anomaly_are_left_out_and_no_anomaly_at_all_is_said(tmp_path, monkeypatch):
    base = recipe(tmp_path, monkeypatch)
    frame = fleet()
    for healthy, judged in ((frame.pump < "p5", 5), (frame.pump < "q", 0)):
        frame.loc[healthy & (frame.state == "odd"), "state"] = "fine"
        frame.to_parquet(tmp_path / "pumps.parquet")
        if not judged:
            with pytest.raises(TrainingError, match="no held-out device has both"):
                compare(base, tmp_path / "none", folds=3, workers=0)
            return
        found = compare(base, tmp_path / "some", folds=5, workers=0)
        assert found is not None
        assert found.found.devices == judged


def test_rows_without_a_label_are_normal_and_labels_break_no_window():
    frame = fleet(2)
    declared = {"kind": "anomaly", "task": "pump", "time": "hour", "channels": ["a", "b"], "window": 5}
    plain = build_in_memory(from_frame(frame), RecordingSchema.from_dict(declared | {"stride": 1}))
    labelled = build_in_memory(
        from_frame(frame),
        RecordingSchema.from_dict(declared | {"stride": 1, "label": "state", "normal": ["fine"]}),
    )
    assert len(labelled.starts) == len(plain.starts) == 2 * (ROWS - 4)
    assert labelled.info.labels == ("fine", "odd")
    odd = labelled.starts[labelled.cells[1] : labelled.cells[2]]  # a window is what its last row is
    assert (np.asarray(frame.state)[odd + 4] == "odd").all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "mlp"}}, "model.name is 'mlp', whose features nothing trains"),
        ({"learner": {"algorithm": "maml"}}, "learner.algorithm is 'maml'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(tmp_path, monkeypatch, changes, message):
    with pytest.raises(RecipeError, match=message):
        open_problem(recipe(tmp_path, monkeypatch, **changes))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"label": "state"}, "normal is empty"),
        ({"normal": ["fine"]}, "no `label` column"),
        ({"targets": ["a"]}, "targets are for regression"),
        ({"label": "state", "normal": ["fin"]}, "'fin', which never occurs.*'fine'"),
    ],
)
def test_declarations_that_do_not_fit_name_the_remedy(declared, message):
    known = {"kind": "anomaly", "task": "pump", "time": "hour", "channels": ["a", "b"]}
    with pytest.raises(DataError, match=message):
        build_in_memory(from_frame(fleet(2)), RecordingSchema.from_dict(known | declared))
