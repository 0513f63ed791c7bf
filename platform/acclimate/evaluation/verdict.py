"""What to do with an evaluation, in one sentence: ship, do without, or record more.

The rule asks two things of a start. It must lose to no rival: not to the strongest on the validation tasks,
and to no other by an interval that is wide enough for their number (Bonferroni). And it must be worth its
trouble: certainly better than what a device has without adaptation or without a fleet. A gain that is not
certain, and that the validation devices did not see, is none: what takes more has to prove its worth. Where
neither is so, or with fewer than `ENOUGH_DEVICES` held out, more recordings are the answer: how many
devices would decide is estimated, and how many days of these ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from acclimate.evaluation.contenders import Start
from acclimate.evaluation.gains import Gain, gain_of_adapting, gains_over_rivals
from acclimate.evaluation.report import (
    ENOUGH_DEVICES,
    Curve,
    Evaluation,
    adapted_words,
    caveats,
    counted,
    errors_of,
    interval_words,
    label_of,
    metric_name,
    number,
    too_few,
)
from acclimate.finite import finite_or_none

Ship = Literal["start", "joint", "rival", "record-more"]
# Rivals a start has to be worth more than, the simplest first.
SIMPLER: tuple[Start, ...] = ("support", "persistence", "seasonal", "linear", "joint", "device_only")
_POOLED: tuple[Start, ...] = ("trees", "linear")  # of all devices' rows: they adapt to none
# What is said of those that have the joint model's weights.
_JOINT: dict[Start, str] = {
    "joint": "Ship the joint model",
    "joint_finetuned": "Ship the joint model, fine-tuned on each device",
    "joint_solved": "Ship the joint model, its head solved on each device",
}


@dataclass(frozen=True)
class Verdict:
    """What an evaluation comes to, at the policy's number of shots.

    Attributes:
        ship: `start`, the meta-learned one; `joint`, one model for all: the joint model, this start as it
            is, pooled trees or a pooled linear model; `rival`, none of these: a simple rival is enough;
            `record-more`: nothing is proven yet.
        sentence: the same with its figures.
        loses_to: the rival that is better by its interval; None where there is none. Such a version is no
            candidate unless somebody says so.
        against: the rival that the sentence compares with; `meta` is the same start, not adapted.
        gain: over it, mean over held-out tasks, above zero where the start is better; -inf where the start
            overflowed on any of them.
        low: lower end of its 95 % interval, paired by task.
        high: its upper end.
        devices: held out.
        devices_needed: held-out devices that would most likely decide; None where something is decided, or
            no number of devices would help.
        days_needed: of recordings a device that would as likely decide with the devices that are held out;
            None where something is decided, no clock tells, or days would not help.
    """

    ship: Ship
    sentence: str
    loses_to: Start | None
    against: Start | None
    gain: float
    low: float
    high: float
    devices: int
    devices_needed: int | None = None
    days_needed: float | None = None

    @property
    def few(self) -> bool:
        """Whether too few devices were held out to tell anything."""
        return self.devices < ENOUGH_DEVICES

    def as_json(self) -> dict[str, Any]:
        """As JSON types; a gain of -inf is null."""
        fields: dict[str, Any] = finite_or_none(asdict(self))
        return fields


def judge(evaluation: Evaluation, shots: int | None = None) -> Verdict:
    """The verdict on an evaluation, at `shots` or the policy's, with what it cannot know of."""
    shots = _measured(evaluation, evaluation.policy_shots if shots is None else shots)
    verdict = _judged(evaluation, shots)
    said = [verdict.sentence, *_unnamed(evaluation, shots, verdict), *caveats(evaluation)]
    return replace(verdict, sentence=" ".join(said))


def _unnamed(evaluation: Evaluation, shots: int, verdict: Verdict) -> list[str]:
    """The strongest rival, whatever its kind, where the verdict's sentence compares with another."""
    gains = list(gains_over_rivals(evaluation, shots))
    if verdict.against is None or not gains:
        return []
    best = _strongest(evaluation, shots, gains).against
    if best == verdict.against:
        return []
    mean = number(evaluation, evaluation.curve(best, shots).judged.mean)
    return [f"Strongest of the rivals: {label_of(evaluation, best)}, at {mean}."]


def _judged(evaluation: Evaluation, shots: int) -> Verdict:
    gains = {each.against: each for each in gains_over_rivals(evaluation, shots)}
    if not gains:
        return _alone(evaluation, shots)
    better = [each for each in gains.values() if each.beaten(len(gains))]
    planned = _planned(evaluation, shots, gains.values())
    if planned is not None and planned not in better and planned.beaten():
        better.append(planned)
    if evaluation.devices < ENOUGH_DEVICES:
        return _record_more(evaluation, shots, _strongest(evaluation, shots, gains.values()), None)
    if better:
        return _without(evaluation, shots, _strongest(evaluation, shots, better), proven=True)
    simpler = [*gain_of_adapting(evaluation, shots), *(gains[start] for start in SIMPLER if start in gains)]
    enough = [each for each in simpler if not each.proven() and each.worthless()]
    if enough:
        plain, best = (_strongest(evaluation, shots, some) for some in (enough, gains.values()))
        if plain.against == "meta" and best.against in ("joint", *_POOLED) and best.mean < 0:
            plain = best  # one model for all likewise, and a better one
        return _without(evaluation, shots, plain, proven=False)
    open_ = [each for each in simpler if not each.proven()]
    if open_:
        undecided = _strongest(evaluation, shots, open_)
        return _record_more(evaluation, shots, undecided, undecided.needed())
    return _ship(evaluation, shots, _strongest(evaluation, shots, gains.values()))


def without_learner(evaluation: Evaluation, rival: Start, name: str) -> Verdict:
    """The verdict where no learner could be trained: the best rival, whose curve stands for `meta`'s.

    Args:
        name: of the rival, for people.
    """
    mean = evaluation.curve("meta", evaluation.policy_shots).judged.mean
    ship: Ship = "joint" if rival in (*_JOINT, *_POOLED) else "rival"
    said = (
        f"No learner could be trained; of the rivals {name} does best, and reaches {number(evaluation, mean)}"
    )
    if not np.isfinite(mean):
        ship, said = (
            "record-more",
            "Look at the data: no learner could be trained, and every rival overflowed",
        )
    elif evaluation.devices < ENOUGH_DEVICES:
        ship, said = "record-more", f"{said}; {too_few(evaluation.devices)}"
    return Verdict(ship, f"{said}.", rival, rival, 0.0, 0.0, 0.0, evaluation.devices)


def _strongest(evaluation: Evaluation, shots: int, gains: Sequence[Gain] | Any) -> Gain:
    """The rival that did best: on the validation tasks, which do not judge, and else on the held-out ones."""
    sign = 1.0 if evaluation.higher_is_better else -1.0

    def merit(each: Gain) -> float:
        curve = evaluation.curve(each.against, shots)
        if each.against == "meta":
            return sign * curve.points[0].mean
        return sign * (curve.judged.mean if curve.validation is None else curve.validation)

    return max(gains, key=merit)


def _planned(evaluation: Evaluation, shots: int, gains: Sequence[Gain] | Any) -> Gain | None:
    """The rival that other devices named before these judged: its comparison needs no wider interval."""
    if any(evaluation.curve(each.against, shots).validation is None for each in gains):
        return None
    return _strongest(evaluation, shots, gains)


def _ship(evaluation: Evaluation, shots: int, rival: Gain) -> Verdict:
    compared = (
        f"{_gain_words(evaluation, rival)} than {label_of(evaluation, rival.against)}, the strongest rival"
    )
    if not rival.proven():
        compared = f"no rival is certainly better; it is {compared}"
    if rival.against == "joint_solved" and not rival.gains.any():
        compared = (
            "it is the joint model, its head solved on each device: meta-training brought nothing on the "
            "validation devices"
        )
    return _verdict(
        "start", f"Ship this start: it reaches {_reached(evaluation, shots)}, {compared}", evaluation, rival
    )


def _without(evaluation: Evaluation, shots: int, rival: Gain, *, proven: bool) -> Verdict:
    curve = evaluation.curve(rival.against, shots)
    if rival.against == "meta":
        return _one_for_all(evaluation, shots, rival)
    ship: Ship
    adapted = "" if len(curve.steps) == 1 else f" ({adapted_words(curve)})"
    reaches = "reach" if rival.against == "trees" else "reaches"
    name = f"{label_of(evaluation, rival.against)}{adapted} {reaches} {number(evaluation, curve.judged.mean)}"
    versus = f"this start {_reached(evaluation, shots)}, {_gain_words(evaluation, rival)}"
    if rival.overflowed:
        versus = _overflowed(evaluation, shots)
    if rival.against in _JOINT:
        why = "it beats this start" if proven else "nothing shows that this start adds anything"
        if not proven and rival.small():
            why = "this start adds nothing worth having"
        elif not proven and rival.mean > 0:
            why = "what this start adds is not proven"
        head, ship = f"{_JOINT[rival.against]}, for {why}", "joint"
        if evaluation.metric == "average_precision":
            head = f"Let devices learn nothing, for {why}"
    elif rival.against in _POOLED:
        head, ship = f"One model for all is {'better' if proven else 'enough'}, and needs no network", "joint"
    else:
        head, ship = f"A simple rival is {'better' if proven else 'enough'}", "rival"
    if not proven and not rival.small() and rival.only_here():
        versus = f"{versus}, but no better on the validation devices"
    return _verdict(ship, f"{head}: {name}; {versus}", evaluation, rival, loses=proven)


def _one_for_all(evaluation: Evaluation, shots: int, rival: Gain) -> Verdict:
    before = number(evaluation, evaluation.curve("meta", shots).points[0].mean)
    one = "Ship one model for all, such as this start as it is"
    if evaluation.metric == "average_precision":
        one = "Let devices learn nothing, for the fleet's normal is enough"
    reached = _reached(evaluation, shots)
    said = f"{one}: not adapted it reaches {before}; adapted {reached}, {_gain_words(evaluation, rival)}"
    if evaluation.curve("meta", shots).chosen == 0:
        said = f"{one}: it reaches {reached}, and adapting it brought nothing on the validation devices"
    return _verdict("joint", said, evaluation, rival)


def _record_more(evaluation: Evaluation, shots: int, rival: Gain, needed: int | None) -> Verdict:
    if rival.overflowed:
        theirs = number(evaluation, evaluation.curve(rival.against, shots).judged.mean)
        broken = f"{_overflowed(evaluation, shots)}, where {_named(evaluation, rival)} reaches {theirs}"
        said = f"Record more, for {too_few(evaluation.devices)}: {broken}"
        return _verdict("record-more", said, evaluation, rival, loses=True)
    if needed is None:
        estimate = rival.needed()
        needed = None if estimate is None else max(ENOUGH_DEVICES, estimate)
    days = None
    if needed is None:
        much = "the two are too alike for a sensible number of devices to decide"
        if evaluation.devices < 2:
            much = "how many would decide is unknown, for one tells nothing of how they differ"
    else:
        longer = rival.longer() if evaluation.devices >= ENOUGH_DEVICES else None
        days = None if longer is None or evaluation.days is None else longer * evaluation.days
        much = f"about {needed} held-out devices would most likely decide{_or_longer(longer, days)}"
    why = too_few(evaluation.devices) if evaluation.devices < ENOUGH_DEVICES else "nothing is proven"
    said = (
        f"Record more, for {why}: this start reaches {_reached(evaluation, shots)}, "
        f"{_gain_words(evaluation, rival)} than {_named(evaluation, rival)}; {much}"
    )
    return replace(_verdict("record-more", said, evaluation, rival, needed=needed), days_needed=days)


def _or_longer(longer: float | None, days: float | None) -> str:
    if longer is None:
        return ""
    if days is None:
        return f", or these with recordings about {longer:.2g} times as long"
    return f", or these with about {days:.3g} {'day' if f'{days:.3g}' == '1' else 'days'} of recordings each"


def _alone(evaluation: Evaluation, shots: int) -> Verdict:
    finite = np.isfinite(evaluation.curve("meta", shots).judged.values)
    alone = f"this start reaches {_reached(evaluation, shots)}, alone"
    if not finite.all():
        alone = _overflowed(evaluation, shots)
    said = f"Measure it again with rivals: {alone}."
    if len(evaluation.starts) > 1:
        odd = "" if finite.all() else f", such as {evaluation.tasks[int(finite.argmin())]}"
        said = f"Look at the data, for every rival overflowed: {alone}{odd}."
    return Verdict("record-more", said, None, None, 0.0, 0.0, 0.0, evaluation.devices)


def _verdict(
    ship: Ship,
    sentence: str,
    evaluation: Evaluation,
    rival: Gain,
    *,
    loses: bool = False,
    needed: int | None = None,
) -> Verdict:
    low, high = rival.interval()
    loser = rival.against if loses else None
    return Verdict(
        ship, f"{sentence}.", loser, rival.against, rival.mean, low, high, evaluation.devices, needed
    )


def _reached(evaluation: Evaluation, shots: int) -> str:
    curve = evaluation.curve("meta", shots)
    errors = [f"; mean absolute error {error:.3g} of {name}" for name, error in errors_of(curve).items()]
    own = errors[0] if len(errors) == 1 else ""
    return f"{metric_name(evaluation)} {number(evaluation, curve.judged.mean)} ({_how(curve)}{own})"


def _overflowed(evaluation: Evaluation, shots: int) -> str:
    finite = np.isfinite(evaluation.curve("meta", shots).judged.values)
    return f"this start overflowed on {(~finite).sum()} of {counted(len(finite), 'held-out task')}"


def _named(evaluation: Evaluation, rival: Gain) -> str:
    return "the same start not adapted" if rival.against == "meta" else label_of(evaluation, rival.against)


def _how(curve: Curve) -> str:
    shots = counted(curve.shots, "shot")
    # Folds put together adapted each in its own way.
    return shots if len(curve.steps) == 1 else f"{shots}, {adapted_words(curve)}"


def _gain_words(evaluation: Evaluation, rival: Gain) -> str:
    """`2.4 points better (95 % interval +1.3 to +3.5, 44 devices)`."""
    unit, scale = (" points", 100.0) if evaluation.metric == "accuracy" else ("", 1.0)
    if not rival.gains.any():
        return f"neither better nor worse on any of {counted(evaluation.devices, 'device')}"
    better = "better" if rival.mean >= 0 else "worse"
    low, high = (scale * end for end in rival.interval())
    devices = f", {evaluation.devices} devices" if evaluation.devices > 1 else ""
    spread = f"{interval_words(evaluation, low, high)}{devices}"
    return f"{abs(scale * rival.mean):.3g}{unit} {better} ({spread})"


def _measured(evaluation: Evaluation, shots: int) -> int:
    """The number of shots that was measured and is nearest, the smaller of two."""
    return min(evaluation.shots, key=lambda each: (abs(each - shots), each))
