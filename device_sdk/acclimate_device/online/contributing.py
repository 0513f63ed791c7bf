"""What a device gives to a campaign, made of its own support; only after the agent found its owner's consent.

The agent leaves what is asked for in the record `round`, which it writes with consent alone; the application
answers in the record `contribution`, which the agent sends and removes. Neither holds an example or a label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import ProtocolError
from acclimate_device.federated import (
    LEAST_BATCH,
    LEAST_EXAMPLES,
    FixedPoint,
    client_update,
    clipped,
    moments,
)
from acclimate_device.online.adaptation import take_steps
from acclimate_device.online.learner import Active
from acclimate_device.online.support import Example, Support
from acclimate_device.protocol import LIMITS, Contribution, Round, dumps, loads
from acclimate_device.runtime import ClosedFormEngine, GradientEngine, Params
from acclimate_device.storage import CONTRIBUTION, ROUND, Store


class Contributing:
    """Answers each round once.

    Args:
        store: shared with the agent.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answered = b""

    def asked(self, now: float) -> Round | None:
        """What is asked for and not answered yet.

        Raises:
            StorageError: the flash refuses.
        """
        raw = self._store.read(ROUND)
        if raw is None or raw == self._answered:
            return None
        try:
            asked = loads(Round, raw, LIMITS.envelope_bytes)
        except ProtocolError:
            return None  # of another version of this package
        if self._store.read(CONTRIBUTION) is not None:
            self._answered = raw
            return None
        return asked if now < asked.closes_at else None

    def answer(self, asked: Round, given: Contribution) -> None:
        """Leave it for the agent.

        Raises:
            StorageError: the flash refuses.
        """
        self._store.write(CONTRIBUTION, dumps(given))
        self._answered = self._store.read(ROUND) or b""


def contribution(active: Active, examples: Sequence[Example], asked: Round) -> Contribution | None:
    """Moments of the examples, or how far adapting to them goes, clipped and rounded; None where the device
    should give none.

    It gives none where it runs another release, has no such thing to give, or fewer examples than asked for
    or than hide each other, whoever asks.
    """
    if active.running.release != asked.release or len(examples) < max(asked.labels, LEAST_EXAMPLES):
        return None
    gradients = asked.kind.endswith("gradients")
    given = _way(active, examples) if gradients else _moments(active, examples)
    if given is None or len(given) != asked.numbers or not bool(np.isfinite(given).all()):
        return None
    vector, _ = clipped(given, asked.clip)
    try:
        values = FixedPoint(asked.bits).rounded(vector).astype("<i4").tobytes()
    except ValueError:  # so long a vector does not fit into the round's integers
        return None
    if asked.hides or asked.epsilon or not active.schema.classification:
        return Contribution.of(asked.id, values)
    return Contribution.of(asked.id, values, *_held_back(active, examples))


def _moments(active: Active, examples: Sequence[Example]) -> NDArray[np.float64] | None:
    engine = active.running.engine
    if not isinstance(engine, ClosedFormEngine) or "last" not in engine.heads:
        return None
    x = active.schema.normalize(np.stack([example.x for example in examples]))
    return moments(engine.features(engine.start, x)["phi"], _targets(active, examples))


def _way(active: Active, examples: Sequence[Example]) -> NDArray[np.float64] | None:
    """From adapted parameters back to the start, in the bundle's order: Reptile's direction."""
    engine = active.running.engine
    if not isinstance(engine, GradientEngine) or len(examples) < LEAST_BATCH:
        return None
    start = {name: engine.start[name] for name in engine.moving}
    update = client_update(start, _adapted(active, examples))
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in update.values()])


def _held_back(active: Active, examples: Sequence[Example]) -> tuple[int, int]:
    """How many of the held-back examples the device gets right after learning the others, and how many there
    are."""
    chosen, schema = examples[: 4 * LIMITS.held_back], active.schema
    params = _adapted(active, [one for number, one in enumerate(chosen) if number % 4])
    judges = chosen[::4]
    outputs = active.running.engine.outputs(params, schema.normalize(np.stack([one.x for one in judges])))
    targets = schema.normalize_targets([one.target for one in judges])
    return int(np.sum(outputs.argmax(axis=1) == targets)), len(judges)


def _adapted(active: Active, examples: Sequence[Example]) -> Params:
    """The release's start after these examples alone."""
    engine, schema = active.running.engine, active.schema
    if isinstance(engine, GradientEngine):
        support = Support(schema, len(examples), held_back=1, hold_back=len(examples) + 1)  # which holds none
        for example in examples:
            support.add(example.x, example.target)
        return take_steps(engine, engine.start, support.batches(engine.adaptation.batch))
    assert isinstance(engine, ClosedFormEngine)
    params = engine.start
    for example in examples:
        target = schema.normalize_targets([example.target])
        params, _ = engine.learn(params, schema.normalize(example.x[None]), target)
    return params


def _targets(active: Active, examples: Sequence[Example]) -> NDArray[np.float64]:
    """What the last layer regresses on, `(n, C)`: one-hot less a share, or normalized targets."""
    schema = active.schema
    targets = schema.normalize_targets([example.target for example in examples])
    if not schema.classification:
        return np.asarray(targets, np.float64).reshape(len(examples), -1)
    classes = active.running.engine.manifest.output.width
    return np.asarray(np.eye(classes)[targets.astype(np.int64)] - 1 / classes)
