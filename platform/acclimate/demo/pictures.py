"""The demo's charts, drawn as the console draws its own."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from acclimate.demo.happened import Drifted, RolledOut, Settled
from acclimate.evaluation import Evaluation
from acclimate.evaluation.contenders import LABELS
from acclimate.rollout.console.charts import Mark, Point, Rule, Series, line_chart
from acclimate.rollout.console.pictures import Picture, arms_picture, effect_picture
from acclimate.simulation import Detection, Outcome

_SIZES = ((720, 280), (340, 230))
_WINDOW_S = 4.0


def fleet_picture(
    outcome: Outcome, settled: Settled, drifted: Drifted, rollouts: Sequence[RolledOut]
) -> Picture:
    """The fleet's accuracy over the whole demo, with what happened to it."""
    windows = [one for one in outcome.windows(_WINDOW_S) if one.mistakes is not None and one.examples >= 20]
    points = [Point(one.at, 100 * (1 - (one.mistakes or 0.0))) for one in windows]
    marks = [
        Mark(drifted.began_s, "arms change"),
        *(Mark(one.began_s, f"version {one.version}") for one in rollouts),
    ]
    title = "Accuracy of the fleet, %"
    description = (
        f"Seconds since the first device was switched on; each point is {_WINDOW_S:g} s of all labelled "
        f"examples. Version {settled.release.version} from the start, then "
        + ", then ".join(mark.label for mark in marks)
        + "."
    )
    return Picture(
        title,
        description,
        _both(title, description, [Series("accuracy", "effect", points)], marks=marks),
        [("effect", "share of examples the fleet predicts rightly, %")],
        ["Second", "Devices heard", "Examples", "Accuracy, %"],
        [
            [f"{one.at:.0f}", str(one.devices), str(one.examples), f"{point.value:.1f}"]
            for one, point in zip(windows, points, strict=True)
        ],
    )


def curves_picture(evaluation: Evaluation) -> Picture:
    """Accuracy on strangers by gradient steps, for every start."""
    shots = evaluation.policy_shots
    curves = [curve for curve in evaluation.curves if curve.shots == shots and len(curve.steps) > 1]
    series = [
        Series(
            LABELS[curve.start],
            curve.start.replace("_", "-"),
            [
                Point(step, 100 * point.mean)
                for step, point in zip(curve.steps, curve.points, strict=True)
                if step <= evaluation.policy_steps
            ],
        )
        for curve in curves
    ]
    title = "Accuracy on strangers by gradient steps, %"
    description = (
        f"{shots} examples of each exercise to adapt on, mean over {len(evaluation.tasks)} arms and "
        f"{evaluation.draws} draws."
    )
    return Picture(
        title,
        description,
        _both(title, description, series),
        [(one.style, one.label) for one in series],
        ["Start", "Steps", "Accuracy, %"],
        [[one.label, f"{point.at:.0f}", f"{point.value:.1f}"] for one in series for point in one.points],
    )


def detection_picture(detections: Sequence[Detection]) -> Picture:
    """How many devices had noticed the drift, by labelled examples seen since."""
    delays = sorted(one.delay_examples for one in detections if one.delay_s is not None)
    count = max(len(detections), 1)
    points = [Point(0.0, 0.0)]
    points += [Point(delay, 100 * (place + 1) / count) for place, delay in enumerate(delays)]
    title = "Devices that have noticed, %"
    description = (
        f"Labelled examples since the watch changed arms; {len(delays)} of {len(detections)} devices noticed."
    )
    return Picture(
        title,
        description,
        _both(title, description, [Series("noticed", "effect", points)]),
        [("effect", "share of the fleet that has noticed, %")],
        ["Examples", "Devices, %"],
        [[f"{point.at:.0f}", f"{point.value:.0f}"] for point in points[:: max(1, len(points) // 12)]],
    )


def evidence_pictures(result: RolledOut) -> tuple[Picture, ...]:
    """The loss gate's evidence, as the console shows it."""
    plan = result.rollout.plan
    gate = next(one for one in plan.gates if one.metric == "loss")
    found = (effect_picture(plan, gate, result.observations), arms_picture(plan, result.observations))
    return tuple(picture for picture in found if picture is not None)


def _both(
    title: str,
    description: str,
    series: Sequence[Series],
    rules: Sequence[Rule] = (),
    marks: Sequence[Mark] = (),
) -> Markup:
    pictures = [
        line_chart(title, description, series, rules, "count", width, height, marks)
        for width, height in _SIZES
    ]
    return Markup().join(pictures)
