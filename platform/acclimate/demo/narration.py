"""From what happened to words: pure functions, one for each phase. The figures are the run's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from acclimate.demo.chapters import Chapter
from acclimate.demo.figures import arms_of, owners
from acclimate.demo.happened import Drifted, Learned, Retrained, RolledOut, Settled
from acclimate.demo.people import CONSENTING, STRANGERS
from acclimate.demo.pictures import curves_picture, detection_picture, evidence_pictures
from acclimate.demo.stage import DRIFT_SHARE
from acclimate.evaluation import Evaluation, comparison_sentence, headline, worst_sentence
from acclimate.rollout.console.pictures import wave_track
from acclimate.rollout.domain.rollout import State
from acclimate.simulation import Outcome


def learned(result: Learned) -> Chapter:
    """The first version."""
    evaluation, version = result.evaluation, result.version
    return Chapter(
        f"Meta-train version {version.version} on the watches of {result.people} people",
        (
            "Each person's arm is one task. Meta-training looks for a start from which any task is learnt by "
            f"a few of its own labels. It was judged on {_people(STRANGERS)}, whom no version ever trains "
            f"on: {headline(evaluation, evaluation.policy_shots)}.",
            " ".join(
                f"{comparison_sentence(evaluation, one).capitalize()}."
                for one in evaluation.comparisons
                if one.shots == evaluation.policy_shots
            )
            + f" The curves average {len(evaluation.tasks)} arms, so take the order as an impression: the "
            "benchmarks have the figures.",
            f"{worst_sentence(evaluation, evaluation.policy_shots).capitalize()}.",
            "It is registered in MLflow with its recipe, data report and lineage, content hash "
            f"{version.content_hash[:12]}.",
        ),
        (
            ("meta-training, comparison and evaluation", f"{result.took_s:.0f} s"),
            ("accuracy on strangers, adapted", _judged(evaluation)),
        ),
        (curves_picture(evaluation),),
    )


def settled(result: Settled) -> Chapter:
    """The fleet adapts."""
    return Chapter(
        f"Ship it to {result.devices} devices of people never trained on",
        (
            f"Version {result.release.version} was exported as plain inference graphs, checked against "
            f"torch, signed, and served. {result.devices} devices enrolled, verified the signatures and "
            "adapted by themselves.",
            "The devices are simulated, but each runs the real SDK and its own agent over HTTP. They "
            f"replay the recordings of five people's right arms ({_people((*CONSENTING, *STRANGERS))}), "
            "starting at different places, a few times faster than life; every example comes with its "
            "label. So this is a fleet of five people, not of a hundred.",
        ),
        (
            ("accuracy at first", _percent(result.first_accuracy)),
            ("accuracy, adapted", _percent(result.accuracy)),
            ("devices", str(result.devices)),
        ),
    )


def drifted(result: Drifted) -> Chapter:
    """Real drift."""
    before, worst, after = result.accuracies
    delays = [one.delay_examples for one in result.detections if one.delay_s is not None]
    noticed = f"{len(delays)} of {len(result.detections)}"
    typical = f", typically after {median(delays):.0f} labelled examples" if delays else ""
    return Chapter(
        "Watches change arms; devices notice and adapt again",
        (
            f"Every watch now replays its owner's left arm. Accuracy {_moved(before, worst)}. {noticed} "
            f"devices noticed by rising losses or changed inputs{typical}, returned to the start and "
            f"adapted to the new arm: {_percent(after)}. A device whose accuracy hardly suffered has nothing "
            f"to notice. False alarms before the change: {result.false_alarms}.",
            f"Reports told the service. Once {100 * DRIFT_SHARE:.0f} % of the fleet had drifted, "
            f"{result.asked_s - result.began_s:.0f} s after the change, it asked for a new version by "
            "itself.",
        ),
        (
            ("accuracy before", _percent(before)),
            ("right after", _percent(worst)),
            ("adapted again", _percent(after)),
            ("noticed", noticed),
        ),
        (detection_picture(result.detections),),
    )


def retrained(result: Retrained, first: Learned) -> Chapter:
    """The service's own training."""
    tags = result.version.tags
    return Chapter(
        f"Retrain with what the devices handed in: version {result.version.version}",
        (
            f"{_people(CONSENTING).capitalize()} had consented: when their watches drifted, their "
            "recordings joined the pool. The service started `acclimate train` in a process of its own, on "
            f"{tags.get('training_tasks', '?')} tasks instead of "
            f"{first.version.tags.get('training_tasks', '?')}. The new version arrived as candidate, child "
            f"of version {tags.get('parent_version', '?')}, with the reason: "
            f"{tags.get('trigger_detail', '')}.",
            f"On the same strangers as before it reaches {_judged(result.evaluation)}, where the first "
            f"version reached {_judged(first.evaluation)}.",
            "The audit log says: " + "; ".join(result.audit) + ".",
        ),
        (
            ("tasks trained on", tags.get("training_tasks", "?")),
            ("accuracy on strangers, adapted", _judged(result.evaluation)),
        ),
    )


def rolled_out(result: RolledOut, outcome: Outcome, spoiled: bool = False) -> Chapter:
    """A rollout as it ended; `spoiled` for the version with the mistake."""
    rollout = result.rollout
    good = rollout.state is State.DONE
    last = next((one for one in reversed(result.decisions) if one.evidence), None)
    said = [gate.reason for gate in last.evidence if gate.gate == "loss"] if last else []
    title = f"Roll out version {result.version} in waves"
    if not good:
        title = f"Version {result.version} does harm" + (
            "" if spoiled or result.by_hand else ", say the gates"
        )
    words = [
        f"{_arms(result)} Both arms started adapting afresh at the same moment, so the only difference is "
        "the version. The gate is a test that may be looked at after every report."
    ]
    if result.by_hand:
        words.append(
            "On so few devices the gates proved neither harm nor its absence and held, which is their "
            f"part; an operator {'promoted it' if good else 'rolled it back'} by hand."
        )
    if good:
        words.append(
            f"After {result.until_s - result.began_s:.0f} s every device runs it. The last verdict on loss: "
            f"{said[0]}."
            if said
            else ""
        )
    elif not spoiled:
        words.append(
            "Nobody planned this: the newly trained version did worse on the devices than the one they "
            f"ran, and the gates rolled it back. {said[0] if said else ''}. With trainings as short as the "
            "demo's that happens."
        )
    else:
        words.append(
            "This version was registered with the evaluation of the one before and looks just as good in "
            "MLflow: someone's pipeline had read mg and degrees for training and test alike, while "
            "watches measure g and radians. Only devices could tell, and did: "
            + (f"{said[0]}. " if said else "")
            + f"It was stopped at wave {rollout.wave} of {len(rollout.plan.waves)}, and devices returned by "
            f"themselves, {result.until_s - result.began_s:.0f} s after the start."
        )
    if not spoiled:
        words.append(_by_consent(result, outcome))
    return Chapter(
        title,
        tuple(filter(None, words)),
        (
            ("state", rollout.state.value.replace("_", " ")),
            ("waves opened", f"{rollout.wave} of {len(rollout.plan.waves)}"),
            (
                "canaries judged",
                str(sum(one.arm == "canary" and one.order is not None for one in result.observations)),
            ),
            ("took", f"{result.until_s - result.began_s:.0f} s"),
        ),
        evidence_pictures(result),
        wave_track(rollout),
    )


def _by_consent(result: RolledOut, outcome: Outcome) -> str:
    """Whether those whose recordings were not trained on gained as well."""
    person = owners(outcome)
    parts = []
    for name, people in (
        ("people who had handed in recordings", CONSENTING),
        ("people who had not", STRANGERS),
    ):
        arms = arms_of(result.observations, person, people)
        if arms.canaries and arms.controls:
            parts.append(
                f"for {name} {arms.canary_loss:.3g} against {arms.control_loss:.3g} ({arms.canaries} and "
                f"{arms.controls} devices)"
            )
    return f"Mean loss of canaries against control: {'; '.join(parts)}." if parts else ""


def _arms(result: RolledOut) -> str:
    arms = [one.arm for one in result.observations]
    canaries, controls = arms.count("canary"), arms.count("control")
    return f"{canaries} devices took it as canaries, {controls} kept the old one as control."


def _judged(evaluation: Evaluation) -> str:
    curve = evaluation.curve("meta", evaluation.policy_shots)
    return _percent(curve.judged.mean)


def _moved(before: float, after: float) -> str:
    verb = "fell" if after < before else "rose"  # some arms are easier to read than others
    return f"{verb} from {_percent(before)} to {_percent(after)}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _people(names: Sequence[str]) -> str:
    numbers = [name.removeprefix("person-").lstrip("0") for name in names]
    return f"persons {', '.join(numbers[:-1])} and {numbers[-1]}"


def lede(devices: int, took_s: float, cpu_s: float) -> tuple[str, ...]:
    """What the report opens with."""
    return (
        "One initialization was meta-trained over a few people's smartwatch recordings (seven shoulder "
        f"exercises, ten people, both arms; D. M. Burns et al. 2018), shipped to {devices} devices of other "
        "people, adapted on each of them, and retrained when their world changed. Every figure below was "
        "measured in this run.",
        f"The run took {took_s:.0f} s and {cpu_s:.0f} s of processor time, on this machine, with whatever "
        "else it was doing.",
    )


def summary(
    settled: Settled, drifted: Drifted, second: RolledOut, third: RolledOut, outcome: Outcome
) -> tuple[tuple[str, str], ...]:
    """The few figures that matter most."""
    noticed = sum(one.delay_s is not None for one in drifted.detections)
    made, counted = outcome.made(), outcome.counted
    lost = made["examples"] - counted.get("examples", 0.0)
    _, worst, after = drifted.accuracies
    return (
        (
            "right on the devices: as shipped, adapted",
            f"{_percent(settled.first_accuracy)}, {_percent(settled.accuracy)}",
        ),
        ("after the arm changed: at once, adapted again", f"{_percent(worst)}, {_percent(after)}"),
        (
            "devices, all on a loadable version",
            f"{sum(one.runs is not None for one in outcome.devices)} of {settled.devices}",
        ),
        ("noticed that the arm changed", f"{noticed} of {len(drifted.detections)}"),
        (f"version {second.version}", second.rollout.state.value.replace("_", " ")),
        (
            f"harmful version {third.version}",
            f"{third.rollout.state.value.replace('_', ' ')}, wave {third.rollout.wave}",
        ),
        ("labelled examples reported", f"{made['examples']:,.0f}"),
        ("of these, lost on the way", f"{lost:,.0f}"),
    )
