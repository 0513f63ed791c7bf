"""Folds put together by hand: who is named, who is left out and why, and what stays within bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acclimate.errors import ModelError
from acclimate.evaluation import Evaluation
from acclimate.evaluation.compared import Compared, compared
from acclimate.evaluation.contenders import Start
from acclimate.evaluation.plot import save_comparison
from acclimate.evaluation.report import Curve
from acclimate.evaluation.statistics import summarize

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # figures that overflowed are expected

MAML, RIVALS = ("maml", "mlp"), ("", "mlp")
NAMES = {MAML: "maml on mlp", RIVALS: "rivals on mlp"}
FOLDS, OF_FOLD = 3, 4


def folds(metric: str = "accuracy", lacking: Start | None = None, **means: float) -> list[Evaluation]:
    """Each contender at its mean on every device; one of them not in the last fold."""
    made = []
    for fold in range(FOLDS):
        tasks = tuple(f"device {fold}-{number}" for number in range(OF_FOLD))
        curves = tuple(
            Curve(start, 5, (0,), (summarize(np.full(OF_FOLD, mean), tasks, True),), 0, validation=mean)
            for start, mean in means.items()
            if (fold, start) != (FOLDS - 1, lacking)
        )
        made.append(Evaluation(metric, metric == "accuracy", 5, 1, tasks, 1, (0,), "", curves, (), tasks))
    return made


def test_a_rival_that_a_fold_lacks_is_named_and_not_dropped() -> None:
    found = compared({MAML: folds(meta=0.9), RIVALS: folds(joint=0.7, trees=0.8, lacking="trees")}, {}, NAMES)
    failed = {entry.name: entry.failed for entry in found.entries if entry.failed}
    assert failed == {"pooled boosted trees": "measured in 2 of 3 folds only"}
    assert found.best_rival == "joint model on mlp"


def test_a_rival_that_fails_in_every_fold_is_named_with_why() -> None:
    of_rivals = [replace(each, unmeasured={"trees": "no bins"}) for each in folds(joint=0.7)]
    found = compared({MAML: folds(meta=0.9), RIVALS: of_rivals}, {}, NAMES)
    assert [(each.name, each.failed) for each in found.entries if each.failed] == [
        ("pooled boosted trees", "no bins")
    ]
    assert "Not measured, for it failed: pooled boosted trees (no bins)" in found.verdict.sentence


def test_where_no_learner_could_be_trained_the_best_rival_is_named() -> None:
    found = compared({RIVALS: folds(joint=0.7, support=0.8)}, {MAML: "it diverged"}, NAMES)
    assert found.recommended == found.best_rival == "one answer a device"
    assert (found.verdict.ship, found.verdict.loses_to) == ("rival", "support")
    assert "this start" not in found.verdict.sentence
    assert found.verdict.sentence == (
        "No learner could be trained; of the rivals one answer a device does best, and reaches 80.0%."
    )


def test_a_gain_in_accuracy_is_at_most_all_of_it() -> None:
    best, worst = folds(meta=0.5), folds(joint=0.0)
    values = np.array([1.0, 1.0, 1.0, 0.0])
    for each in best:
        curve = each.curves[0]
        point = summarize(values, each.tasks, True)
        object.__setattr__(each, "curves", (Curve(**{**vars(curve), "points": (point,)}),))
    entry = compared({MAML: best, RIVALS: worst}, {}, NAMES).entry("maml on mlp")
    assert entry.gain_low <= entry.gain <= entry.gain_high <= 1.0


def test_what_overflowed_is_null_in_its_json() -> None:
    found: Compared = compared(
        {MAML: folds("mse", meta=float("inf")), RIVALS: folds("mse", joint=0.7)}, {}, NAMES
    )
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    [own] = [entry for entry in document["entries"] if entry["start"] == "meta"]
    assert own["mean"] is None
    assert found.recommended == "joint model on mlp"


def test_a_picture_shows_errors_of_nought_and_of_any_size(tmp_path: Path) -> None:
    for number, means in enumerate(
        ({"joint": 0.9}, {"joint": 9e3}, {"joint": 0.0, "trees": 1e9}, {"joint": 0.0})
    ):
        found = compared({MAML: folds("mse", meta=float("inf")), RIVALS: folds("mse", **means)}, {}, NAMES)
        picture = tmp_path / f"{number}.png"
        save_comparison(found, "fleet", picture)
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_where_no_rival_could_be_measured_it_says_so() -> None:
    with pytest.raises(ModelError, match=r"no rival could be measured.*rivals on mlp: it diverged"):
        compared({MAML: folds(meta=0.9)}, {RIVALS: "it diverged"}, NAMES)


def test_rivals_that_all_overflowed_are_not_shipped_and_come_last() -> None:
    beyond = float("inf")
    found = compared({RIVALS: folds("mse", joint=beyond, support=beyond)}, {MAML: "it diverged"}, NAMES)
    assert found.verdict.ship == "record-more"
    assert found.verdict.sentence.startswith("Look at the data")
    found = compared(
        {MAML: folds("mse", meta=0.5), RIVALS: folds("mse", joint=float("nan"), support=0.3)}, {}, NAMES
    )
    assert [entry.mean for entry in found.entries][:2] == pytest.approx([0.3, 0.5])
