"""Gates: what data makes them pass, doubt or prove harm, and the evidence they leave."""

import math
import random
from collections.abc import Callable

import pytest

from acclimate.rollout.domain.evidence import Arm, GateEvidence, Observation, Verdict
from acclimate.rollout.domain.gates import difference_band, judge, judge_gate
from acclimate.rollout.domain.plan import Gate
from acclimate.rollout.domain.statistics import statistic_of
from acclimate.rollout.domain.tally import Tally
from tests.support.rollout_samples import NEW, NOW, OLD, a_plan

Make = Callable[[random.Random, Arm], dict[str, object]]


def settled(arm: Arm, order: int, **fields: object) -> Observation:
    hash_ = (NEW if arm == "canary" else OLD).content_hash
    fields = {"heard_at": NOW, "adapted": True, "paid": True} | fields
    return Observation(f"{arm}-{order}", arm, 1, NOW, 5, hash_, order=order, **fields)


def judged(gate: Gate, pairs: int, make: Make, arms: tuple[Arm, ...] = ("canary", "control")) -> GateEvidence:
    rng, tally = random.Random(0), statistic_of(gate)
    for number in range(pairs):
        for arm in arms:
            tally.add(settled(arm, number + 1, **make(rng, arm)))
    return judge_gate(tally, 0.02)


def losses(harm: float = 0.0) -> Make:
    return lambda rng, arm: {
        "examples": 10,
        "loss_sum": 10 * (rng.gauss(1, 0.1) + (harm * 0.1 if arm == "canary" else 0.0)),
    }


def events(name: str, canary: float, control: float) -> Make:
    return lambda rng, arm: {name: rng.random() < (canary if arm == "canary" else control)}


LOSS = Gate("loss", tolerance=0.5, proof=True)


def test_no_data_never_passes():
    for gate in (LOSS, Gate("failure"), Gate("latency", quantile=0.9), Gate("drift", limit=0.1)):
        assert judged(gate, 0, losses()).verdict is Verdict.INCONCLUSIVE
    for gate in (LOSS, Gate("failure")):
        alone = judged(gate, 50, losses(), arms=("canary",))
        assert alone.verdict is Verdict.INCONCLUSIVE
        assert "no control device" in alone.reason


def test_equal_losses_pass_once_harm_is_ruled_out():
    assert judged(LOSS, 20, losses()).verdict is Verdict.INCONCLUSIVE
    enough = judged(LOSS, 300, losses())
    assert enough.verdict is Verdict.PASS
    assert enough.upper is not None
    assert enough.upper < 0.05
    assert "ruled out" in enough.reason


def test_harm_is_proven_and_bounded_away_from_nothing():
    harm = judged(LOSS, 100, losses(harm=1.0))
    assert harm.verdict is Verdict.HARM
    assert harm.lower is not None
    assert harm.upper is not None
    assert harm.difference == pytest.approx(0.1, abs=0.04)
    assert 0 < harm.lower < 0.1 < harm.upper
    assert harm.log_e is not None
    assert harm.log_e > math.log(1 / 0.02)
    assert (harm.canary_devices, harm.control_devices) == (100, 100)


def test_a_better_release_is_no_harm():
    assert judged(LOSS, 100, losses(harm=-1.0)).verdict is Verdict.PASS


@pytest.mark.parametrize("metric", ["failure", "silence", "drift"])
def test_a_rate_that_rises_is_harm_and_an_equal_one_is_not(metric: str):
    gate = Gate(metric)
    assert judged(gate, 60, events(metric, 0.5, 0.05)).verdict is Verdict.HARM
    assert judged(gate, 60, events(metric, 0.3, 0.3)).verdict is Verdict.PASS


def test_fallback_is_adaptation_that_did_not_pay():
    gate = Gate("fallback")
    assert judged(gate, 60, lambda rng, arm: {"paid": arm == "control"}).verdict is Verdict.HARM
    assert judged(gate, 60, lambda rng, arm: {"paid": False}).verdict is Verdict.PASS


def test_a_rate_with_proof_waits_until_harm_is_ruled_out():
    gate = Gate("failure", tolerance=0.1, proof=True)
    assert judged(gate, 30, events("failure", 0.0, 0.0)).verdict is Verdict.INCONCLUSIVE
    assert judged(gate, 400, events("failure", 0.0, 0.0)).verdict is Verdict.PASS


def test_a_limit_needs_no_control():
    gate = Gate("failure", limit=0.05)
    assert judged(gate, 100, events("failure", 0.4, 0), arms=("canary",)).verdict is Verdict.HARM
    assert judged(gate, 100, events("failure", 0.02, 0), arms=("canary",)).verdict is Verdict.PASS
    proof = Gate("failure", limit=0.05, proof=True)
    assert judged(proof, 20, events("failure", 0.0, 0), arms=("canary",)).verdict is Verdict.INCONCLUSIVE
    assert judged(proof, 300, events("failure", 0.0, 0), arms=("canary",)).verdict is Verdict.PASS


def test_a_quantile_sees_a_tail_that_the_mean_hides():
    def slow_tail(rng: random.Random, arm: Arm) -> dict[str, object]:
        slow = arm == "canary" and rng.random() < 0.3
        return {"latency_ms": rng.gauss(9.0 if slow else 1.0, 0.1)}

    tail = judged(Gate("latency", quantile=0.9), 400, slow_tail)
    assert tail.verdict is Verdict.HARM
    assert judged(Gate("latency", quantile=0.1), 400, slow_tail).verdict is Verdict.PASS
    assert judged(Gate("latency", quantile=0.9, limit=5.0), 400, slow_tail).verdict is Verdict.HARM
    assert judged(Gate("latency", quantile=0.9, limit=20.0), 400, slow_tail).verdict is Verdict.PASS


def test_failed_and_silent_devices_do_not_speak_for_the_others():
    tally = Tally(a_plan(gates=(Gate("loss"), Gate("failure"), Gate("silence"), Gate("drift"))))
    tally.add(settled("canary", 1, failure=True, examples=5, loss_sum=50.0, drift=True))
    tally.add(settled("canary", 2, silence=True, examples=5, loss_sum=50.0))
    tally.add(settled("canary", 3, examples=5, loss_sum=5.0))
    counted = {gate.gate.metric: (gate.canary.count, gate.canary.total) for gate in tally.gates}
    assert counted == {"loss": (1, 1.0), "failure": (2, 1.0), "silence": (3, 1.0), "drift": (1, 0.0)}
    assert tally.settled["canary", 1] == 3


def test_devices_still_watched_are_not_evidence():
    tally = Tally(a_plan())
    tally.add(Observation("one", "canary", 1, NOW, 5, NEW.content_hash, examples=5, loss_sum=5.0))
    assert [gate.canary_devices for gate in judge(a_plan(), tally)] == [0, 0]


def test_the_band_of_a_chart_narrows_to_the_gates_last_word():
    rng = random.Random(1)
    make = losses()
    seen = [
        settled(arm, 2 * number + place + 1, **make(rng, arm))
        for number in range(100)
        for place, arm in enumerate(("canary", "control"))
    ]
    plan = a_plan(gates=(LOSS,))
    band, margin = difference_band(plan, LOSS, seen, points=20)
    assert len(band) == 20
    assert band[-1] == judge(plan, Tally(plan, seen))[0]
    assert margin == pytest.approx(0.5 * 0.1, rel=0.2)  # half of control's deviation
    widths = [one.upper - one.lower for one in band if one.upper is not None and one.lower is not None]
    assert widths[-1] < widths[0] / 2
