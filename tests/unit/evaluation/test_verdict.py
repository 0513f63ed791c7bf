"""The verdict on hand-made figures: what loses, what is not worth it, what is not proven, what is."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.evaluation import Evaluation, judge
from acclimate.evaluation.contenders import Start
from acclimate.evaluation.report import Curve
from acclimate.evaluation.statistics import gains_of, interval, longer_to_decide, summarize, units_to_decide
from acclimate.workflow import alias_of

DEVICES = 12
SPREAD = np.linspace(-0.02, 0.02, DEVICES)


def evaluation(metric: str = "accuracy", devices: int = DEVICES, **means: float) -> Evaluation:
    """Every device at its contender's mean plus a spread, which differs between contenders."""
    better = metric == "accuracy"
    tasks = tuple(f"device {number}" for number in range(devices))
    curves = []
    for number, (start, mean) in enumerate(means.items()):
        values = mean + np.roll(SPREAD, number)[:devices]
        point = summarize(values, tasks, better)
        curves.append(Curve(start, 5, (0,), (point,), 0, validation=mean))
    return Evaluation(metric, better, 5, 1, tasks, 3, (0,), "", tuple(curves), (), tasks)


@pytest.mark.parametrize(
    ("means", "ship", "loses_to"),
    [
        ({"meta": 0.9, "joint": 0.7, "support": 0.3, "joint_finetuned": 0.8}, "start", None),
        ({"meta": 0.7, "joint": 0.8}, "joint", "joint"),
        ({"meta": 0.8, "joint": 0.8, "support": 0.4}, "joint", None),
        ({"meta": 0.7, "joint": 0.5, "joint_finetuned": 0.8}, "joint", "joint_finetuned"),
        ({"meta": 0.8, "joint": 0.5, "support": 0.8}, "rival", None),
        ({"meta": 0.7, "joint": 0.6, "nearest": 0.8}, "rival", "nearest"),
        ({"meta": 0.7, "joint": 0.6, "trees": 0.8}, "joint", "trees"),  # one model for all, and no network
        ({"meta": 0.9, "joint": 0.7, "trees": 0.9}, "start", None),
        ({"meta": 0.7, "joint": 0.6, "linear": 0.8}, "joint", "linear"),
        ({"meta": 0.9, "joint": 0.7, "linear": 0.9}, "joint", None),  # simpler, and as good
        ({"meta": float("nan"), "joint": 0.7}, "joint", "joint"),
    ],
)
def test_what_is_shipped(means: dict[str, float], ship: str, loses_to: Start | None) -> None:
    verdict = judge(evaluation(**means))
    assert (verdict.ship, verdict.loses_to) == (ship, loses_to)
    assert alias_of(verdict) == (None if loses_to else "candidate")
    assert alias_of(verdict, candidate=True) == "candidate"


def test_an_error_counts_the_other_way_round() -> None:
    assert judge(evaluation("mse", meta=0.5, joint=0.9)).ship == "start"
    assert judge(evaluation("mse", meta=0.9, joint=0.5)).loses_to == "joint"


def test_seven_devices_are_too_few_and_eight_are_not() -> None:
    few = judge(evaluation(devices=7, meta=0.9, joint=0.7))
    assert few.ship == "record-more"
    assert "7 held-out devices are too few" in few.sentence
    assert few.devices_needed == 8  # so large a gain needs no more
    assert judge(evaluation(devices=8, meta=0.9, joint=0.7)).ship == "start"


def test_a_start_that_need_not_adapt_is_one_model_for_all() -> None:
    tasks = tuple(map(str, range(DEVICES)))
    before, after = summarize(0.9 + SPREAD, tasks, True), summarize(0.9 + SPREAD[::-1] / 10, tasks, True)
    own = Curve("meta", 5, (0, 1), (before, after), 1)
    joint = Curve("joint", 5, (0,), (summarize(0.7 + SPREAD, tasks, True),), 0)
    verdict = judge(Evaluation("accuracy", True, 5, 1, tasks, 1, (0,), "", (own, joint), (), tasks))
    assert (verdict.ship, verdict.against, verdict.loses_to) == ("joint", "meta", None)
    assert "one model for all" in verdict.sentence


@pytest.mark.parametrize("other", ["trees", "linear"])
@pytest.mark.parametrize("error", [0.8, 1.0])
def test_one_model_for_all_is_the_best_one_and_the_strongest_rival_is_named(
    other: Start, error: float
) -> None:
    """Better by the mean, and not by an interval: nobody is beaten."""
    tasks = tuple(map(str, range(DEVICES)))
    wide = 0.9 + 20 * SPREAD[::-1]
    own = Curve("meta", 5, (0, 1), (summarize(wide, tasks, False),) * 2, 1, validation=0.9)
    rows = {other: error + 20 * SPREAD, "nearest": np.full(DEVICES, 1.5)}
    rivals = (
        Curve(start, 5, (0,), (summarize(row, tasks, False),), 0, validation=float(row.mean()))
        for start, row in rows.items()
    )
    verdict = judge(Evaluation("mse", False, 5, 1, tasks, 1, (0,), "", (own, *rivals), (), tasks))
    assert (verdict.ship, verdict.loses_to) == ("joint", None)
    named = {"trees": "pooled boosted trees reach 0.8;", "linear": "pooled linear model reaches 0.8;"}
    assert (named[other] in verdict.sentence) == (error == 0.8)
    assert verdict.sentence.count("pooled") == 1  # in the sentence, or as the strongest rival


def test_a_sentence_claims_no_more_than_its_interval_bears() -> None:
    tasks = tuple(map(str, range(DEVICES)))

    def against_joint(gains: np.ndarray) -> str:
        curves = tuple(
            Curve(start, 5, (0,), (summarize(values, tasks[: len(gains)], True),), 0)
            for start, values in (("meta", 0.5 + gains), ("joint", np.full(len(gains), 0.5)))
        )
        return judge(
            Evaluation("accuracy", True, 5, 1, tasks[: len(gains)], 1, (0,), "", curves, ())
        ).sentence

    spread = np.tile([0.3, -0.3], DEVICES // 2)
    assert "adds nothing worth having" in against_joint(0.01 * spread)
    assert "nothing shows that this start adds anything" in against_joint(spread - 0.02)
    assert "neither better nor worse on any of 12 devices" in against_joint(0 * spread)
    alone = against_joint(np.array([0.1]))
    assert "one device: no interval" in alone
    assert "one tells nothing of how they differ" in alone
    normal = judge(evaluation("average_precision", meta=0.5, joint=0.9)).sentence
    assert "average precision" in normal


def test_sessions_of_one_person_are_one_device() -> None:
    whole = evaluation(meta=0.9, joint=0.7)
    owned = Evaluation(**{**vars(whole), "groups": ("ann",) * 6 + ("ben",) * 6})
    assert judge(whole).ship == "start"
    assert judge(owned).ship == "record-more"
    assert judge(owned).devices == 2


def test_an_unproven_gain_says_how_many_devices_would_decide() -> None:
    gains = np.array([0.3, -0.25, 0.2, -0.1, 0.25, -0.2, 0.3, -0.1, 0.2, -0.2])
    tasks = tuple(map(str, range(10)))
    curves = tuple(
        Curve(start, 5, (0,), (summarize(values, tasks, True),), 0)
        for start, values in (("meta", 0.5 + gains), ("joint", np.full(10, 0.5)))
    )
    verdict = judge(Evaluation("accuracy", True, 5, 1, tasks, 1, (0,), "", curves, (), tasks))
    assert verdict.ship == "record-more"
    # By hand: ((1.96 + 0.84) * deviation / mean) ** 2.
    assert verdict.devices_needed == int(np.ceil((2.8 * gains.std(ddof=1) / gains.mean()) ** 2))


def test_days_decide_where_devices_are_alike_and_their_own_episodes_are_not() -> None:
    random = np.random.default_rng(0)
    between, within = 0.01, 0.4
    level, noise = (
        scale * (drawn - drawn.mean(axis=0)) / drawn.std(axis=0, ddof=1)
        for scale, drawn in ((between, random.normal(size=10)), (within, random.normal(size=(4, 10))))
    )
    draws = 0.03 + level + noise  # noise is nought in the mean of a device, and its variance known
    longer = longer_to_decide(draws, (), margin=0.0)
    # By hand: the interval's half at 10 devices must not pass 0.03 / 2.8.
    assert longer == pytest.approx((within**2 / 4) / (10 * (0.03 / 2.8) ** 2))
    assert longer_to_decide(draws[:1], (), margin=0.0) is None
    assert longer_to_decide(0.01 + 10 * level + 0 * noise, (), margin=0.0) is None

    tasks = tuple(map(str, range(10)))
    means = 0.5 + 0.03 + np.tile([0.12, -0.12], 5)
    curves = tuple(
        Curve(start, 5, (0,), (summarize(values, tasks, True),), 0, draws=tuple(map(tuple, of_draws)))
        for start, values, of_draws in (
            ("meta", means, means + noise),
            ("joint", np.full(10, 0.5), np.full((4, 10), 0.5)),
        )
    )
    whole = Evaluation("accuracy", True, 5, 1, tasks, 4, (0,), "", curves, (), tasks, days=3.0)
    verdict = judge(Evaluation.from_json(whole.as_json()))
    assert verdict.ship == "record-more"
    assert verdict.days_needed is not None
    assert verdict.days_needed > 3
    assert f"about {verdict.days_needed:.3g} days of recordings each" in verdict.sentence
    unclocked = judge(Evaluation(**{**vars(whole), "days": None}))
    assert unclocked.days_needed is None
    assert "times as long" in unclocked.sentence


def test_the_rival_that_validation_named_needs_no_wider_interval() -> None:
    """At 95 % it is better; at the level for seven comparisons it would not be."""
    tasks = tuple(map(str, range(DEVICES)))
    loss = np.linspace(-0.05, 0.016, DEVICES)
    assert interval(loss)[1] < 0 < interval(loss, (), 1 - 0.05 / 7)[1]
    rivals = ("joint", "nearest", "trees", "support", "device_only", "joint_solved", "joint_finetuned")
    for named, loses_to in (("joint_finetuned", "joint_finetuned"), ("trees", None)):
        curves = [Curve("meta", 5, (0,), (summarize(0.8 + loss, tasks, True),), 0, validation=0.8)]
        for number, start in enumerate(rivals):
            values = np.full(DEVICES, 0.8 if start == "joint_finetuned" else 0.5 + number / 100)
            chosen = 0.9 if start == named else 0.5
            curves.append(Curve(start, 5, (0,), (summarize(values, tasks, True),), 0, validation=chosen))
        whole = Evaluation("accuracy", True, 5, 1, tasks, 1, (0,), "", tuple(curves), (), tasks)
        assert judge(whole).loses_to == loses_to


def test_intervals_stay_within_what_is_possible() -> None:
    values = np.array([1.0, 1.0, 0.9, 0.2])
    assert summarize(values, "abcd", True).high == 1.0
    assert summarize(np.array([0.0, 0.0, 0.1, 0.9]), "abcd", False).low == 0.0
    assert interval(values)[1] > 1.0


def test_groups_widen_an_interval_and_no_spread_needs_no_devices() -> None:
    values = np.array([0.1, 0.1, 0.9, 0.9])
    low, high = interval(values, ("a", "a", "b", "b"))
    alone = interval(values)
    assert low < alone[0] < alone[1] < high
    assert units_to_decide(np.array([0.1]), 0.0) is None
    assert units_to_decide(np.array([0.1, 0.1]), 0.0) == 2


@pytest.mark.parametrize(
    ("rival", "validation", "ship"),
    [("support", 0.8, "rival"), ("joint", 0.8, "joint"), ("support", 0.6, "record-more")],
)
def test_an_unproven_gain_that_validation_devices_did_not_see_is_none(
    rival: Start, validation: float, ship: str
) -> None:
    """They are devices too; where they saw a gain as well, more of them would decide."""
    tasks = tuple(map(str, range(DEVICES)))
    own = Curve("meta", 5, (0,), (summarize(0.73 + 8 * SPREAD, tasks, True),), 0, validation=0.7)
    other = Curve(rival, 5, (0,), (summarize(np.full(DEVICES, 0.7), tasks, True),), 0, validation=validation)
    verdict = judge(Evaluation("accuracy", True, 5, 1, tasks, 1, (0,), "", (own, other), (), tasks))
    assert verdict.low < 0 < verdict.gain
    assert verdict.ship == ship
    assert ("but no better on the validation devices" in verdict.sentence) == (ship != "record-more")


def test_what_differs_by_rounding_does_not_differ() -> None:
    """A mean gain of 1e-9 asked for 460 devices."""
    tasks = tuple(map(str, range(DEVICES)))
    gains = 0.1 * np.tile([1.0, -1.0], DEVICES // 2)
    assert gains_of([0.8, 1 / 3], [0.8 + 1e-9, float(np.float32(1 / 3))], True).tolist() == [0.0, 0.0]
    assert gains_of([1e-30], [2e-30], False).tolist() == [1e-30]
    curves = tuple(
        Curve(start, 5, (0,), (summarize(values, tasks, True),), 0)
        for start, values in (("meta", 0.8 + gains + 1e-9), ("support", np.full(DEVICES, 0.8)))
    )
    verdict = judge(Evaluation("accuracy", True, 5, 1, tasks, 1, (0,), "", curves, (), tasks))
    assert (verdict.ship, verdict.against) == ("rival", "support")
