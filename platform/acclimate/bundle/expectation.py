"""What a device may expect of adapting: the curve of the registered evaluation that fits the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.errors import BundleError
from acclimate_device.protocol import CurvePoint, Expected

_FORMAT = 1


def expected_curve(evaluation: Mapping[str, Any], shots: int) -> Expected | None:
    """The meta-learned start's adaptation curve on held-out tasks.

    Args:
        evaluation: the JSON registered with a version, see `acclimate.evaluation`.
        shots: of the adaptation policy; where nobody measured it, the nearest smaller support counts, which
            promises too little rather than too much, and else the nearest larger one.

    Returns:
        None where the evaluation holds no curve of the meta-learned start.

    Raises:
        BundleError: the evaluation is in a format this version does not read.
    """
    if not evaluation:
        return None
    if evaluation.get("format") != _FORMAT:
        raise BundleError(
            f"the registered evaluation has format {evaluation.get('format')!r}, this version reads "
            f"{_FORMAT}: use the acclimate version that registered it"
        )
    curves = {curve["shots"]: curve for curve in evaluation["curves"] if curve["start"] == "meta"}
    if not curves:
        return None
    curve = curves[max((s for s in curves if s <= shots), default=min(curves))]
    points = (
        CurvePoint(steps=steps, mean=point["mean"], quantiles=_named(point["quantiles"]))
        for steps, point in zip(curve["steps"], curve["points"], strict=True)
    )
    return Expected(
        metric=evaluation["metric"],
        higher_is_better=evaluation["higher_is_better"],
        shots=curve["shots"],
        tasks=len(evaluation["tasks"]),
        points=tuple(points),
    )


def _named(quantiles: Mapping[str, float]) -> dict[str, float]:
    """By name: `p05` for level 0.05."""
    return {f"p{round(100 * float(level)):02d}": value for level, value in quantiles.items()}
