"""One adaptation: take the steps, then use whatever the held-back examples say is best.

Adaptation can hurt, so the start is always a candidate. The others are the start after the bundle's steps, as
in meta-training, and the parameters in use after as many more, which is how a device improves over months.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acclimate_device.online.schema import Schema
from acclimate_device.online.support import Example
from acclimate_device.protocol import Adaptation, Manifest
from acclimate_device.runtime import Batch, GradientEngine, Params


@dataclass(frozen=True)
class Outcome:
    """What an adaptation led to.

    Attributes:
        params: to be used from now on.
        adapted: whether they differ from the start.
        steps: gradient steps taken.
        judged: whether held-back examples decided.
        start_loss, loss: mean loss of the start and of `params` on the held-back examples; 0 if not judged.
    """

    params: Params
    adapted: bool
    steps: int
    judged: bool = False
    start_loss: float = 0.0
    loss: float = 0.0


def adapt(
    engine: GradientEngine,
    schema: Schema,
    batches: Sequence[Batch],
    judges: Sequence[Example],
    current: Params | None,
    judge_from: int,
) -> Outcome:
    """Adapt on the support.

    Args:
        batches: the support, at least one.
        judges: held-back examples.
        current: adapted parameters in use; None while the start is.
        judge_from: held-back examples needed for their verdict.
    """
    if not engine.adaptation.steps:
        return Outcome(engine.start, False, 0)
    candidates = [take_steps(engine, engine.start, batches)]
    if current is not None:
        candidates += [take_steps(engine, current, batches), current]
    steps = engine.adaptation.steps * (1 if current is None else 2)
    finite = [params for params in candidates if _finite(params)]
    if len(judges) < judge_from:
        pays = bool(finite) and expected_to_pay(engine.manifest)
        return Outcome(finite[0] if pays else engine.start, pays, steps)
    losses = [_mean_loss(engine, schema, params, judges) for params in (engine.start, *finite)]
    best = int(np.argmin(np.nan_to_num(losses, nan=np.inf)))  # the start wins a tie
    params = (engine.start, *finite)[best]
    return Outcome(params, best > 0, steps, True, losses[0], losses[best])


def take_steps(engine: GradientEngine, params: Params, batches: Sequence[Batch]) -> Params:
    """The bundle's number of gradient steps, each over the next batch in turn."""
    for step in range(engine.adaptation.steps):
        params, _ = engine.step(params, batches[step % len(batches)], step)
    return params


def _mean_loss(engine: GradientEngine, schema: Schema, params: Params, judges: Sequence[Example]) -> float:
    x = schema.normalize(np.stack([example.x for example in judges]))
    y = schema.normalize_targets([example.target for example in judges])
    return float(schema.losses(engine.outputs(params, x), y).mean())


def _finite(params: Params) -> bool:
    return all(bool(np.isfinite(tensor).all()) for tensor in params.values())


def expected_to_pay(manifest: Manifest) -> bool:
    """Whether the bundle's steps helped on the tasks held out in training; without that knowledge they are
    not used."""
    steps = manifest.adaptation.steps if isinstance(manifest.adaptation, Adaptation) else 1
    if manifest.expected is None:
        return False
    # A report goes on far beyond the bundle's steps, where many a start is lost that a few would improve.
    points = sorted(
        (point for point in manifest.expected.points if point.steps <= steps), key=lambda point: point.steps
    )
    if len(points) < 2:
        return False
    gain = points[-1].mean - points[0].mean
    return gain > 0.0 if manifest.expected.higher_is_better else gain < 0.0
