"""Every contender that can be had from what one training seed made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from acclimate.errors import ModelError
from acclimate.evaluation.contenders import Broken, Contender, Descent, Setting, Start
from acclimate.evaluation.linear import fit
from acclimate.evaluation.rivals import Features, Nearest, OfSupport, flat_features, naive_rivals
from acclimate.evaluation.trees import grow
from acclimate.initialization import Normalization
from acclimate.learners import Learner, Loss, MetaParams, check_head, under
from acclimate.learners.headless import headless
from acclimate.learners.stacked import stacked_forward
from acclimate.tasks import Sampler

FACTORS = (1.0, 0.25, 0.5, 2.0, 4.0)  # to learned rates: those as learned win where nothing is better


@dataclass(frozen=True)
class Trained:
    """What one training seed made: every start that is compared.

    Attributes:
        seed: the training seed.
        learner: the recipe's, which adapts the meta-learned start.
        meta: meta-parameters after training.
        plain: gradient descent on all weights of the same network, for the joint and the random start.
        untrained: the network's random start, as meta-parameters of `plain`.
        joint: the joint model, likewise; None where one model for all tasks makes no sense.
        solved: a closed form on the joint model, and what it makes of that without meta-training; None where
            there is no joint model, or it has no head to solve.
        train: of the tasks that were trained on.
        loss: what adaptation lowers, and the metric.
        normalization: of the inputs and targets.
    """

    seed: int
    learner: Learner
    meta: MetaParams
    plain: Learner
    untrained: MetaParams
    joint: MetaParams | None
    train: Sampler
    loss: Loss
    normalization: Normalization
    solved: tuple[Learner, MetaParams] | None = None


@dataclass(frozen=True)
class EvaluationProtocol:
    """What is measured; see the recipe's `evaluation` section.

    Attributes:
        shots: a curve each.
        steps: gradient steps of the curves, ascending.
        long_steps: a further point, far beyond what a device should have to do; nobody is judged at it.
        draws: episodes of each task.
        rates: step sizes tried for everybody who descends.
        policy_shots: of the adaptation policy.
        policy_steps: of the adaptation policy: the budget of everybody who descends.
        rivals: whether those are measured that need neither meta-learning nor a joint model's gradient.
    """

    shots: tuple[int, ...]
    steps: tuple[int, ...]
    long_steps: int
    draws: int
    rates: tuple[float, ...]
    policy_shots: int
    policy_steps: int
    rivals: bool = True

    @property
    def measured_steps(self) -> tuple[int, ...]:
        """Every number of steps of a curve; none at all is among them, for it may be best."""
        return tuple(sorted({0, *self.steps, self.policy_steps, self.long_steps}))


def own_start(trained: Trained, protocol: EvaluationProtocol) -> Descent:
    """The meta-learned start, adapted as its learner does."""
    learner, meta = trained.learner, trained.meta
    if not learner.trainable:
        return _closed_form("meta", learner, meta)
    rated = any(name.startswith("rate.") for name in meta)
    settings: Sequence[Setting] = (
        tuple({"rates": factor} for factor in FACTORS) if rated else _rates(learner.config.inner_lr, protocol)
    )
    return Descent("meta", learner, meta, settings, protocol.measured_steps)


def lineup(
    trained: Trained, protocol: EvaluationProtocol, wanted: Callable[[Start], bool]
) -> dict[Start, Contender]:
    """The contenders that are wanted, by name; what is the start itself is no rival of it."""
    steps, rates = protocol.measured_steps, _rates(trained.learner.config.inner_lr, protocol)
    everyone: list[Contender] = [own_start(trained, protocol)]
    itself = trained.learner.config.algorithm
    if trained.joint is not None and itself != "joint":
        everyone.append(Descent("joint_finetuned", trained.plain, trained.joint, rates, steps))
        everyone.append(Descent("joint", trained.plain, trained.joint, ({},), (0,)))
    if itself != "device-only":
        everyone.append(Descent("device_only", trained.plain, trained.untrained, rates, steps))
    if protocol.rivals:
        everyone += _rivals(trained, wanted)
    return {each.start: each for each in everyone if wanted(each.start)}


def _rivals(trained: Trained, wanted: Callable[[Start], bool]) -> list[Contender]:
    width, classes = trained.train.outputs, trained.train.schema.kind == "classification"
    found: list[Contender] = [OfSupport(width, classes)]
    found += naive_rivals(trained.train.schema, trained.normalization, width)
    if trained.solved is not None:
        found.append(_closed_form("joint_solved", *trained.solved))
    features: Features = flat_features
    if trained.joint is not None:
        features = _features(trained.plain, trained.joint, trained.train.input_shape)
        absolute = trained.loss.metric_name == "mae"
        pooled: dict[Start, Callable[[], Contender | None]] = {
            "trees": lambda: grow(
                trained.train, width, classes=classes, absolute=absolute, seed=trained.seed
            ),
            "linear": lambda: fit(trained.train, width, classes=classes),
        }
        found += [each for start, make in pooled.items() if wanted(start) for each in _made(start, make)]
    found.append(Nearest(features, width, classes))
    return found


def _made(start: Start, make: Callable[[], Contender | None]) -> list[Contender]:
    """One model for the fleet, where it is fitted in time; broken where its library cannot fit it."""
    try:
        made = make()
    except (MemoryError, OSError):  # of this machine, now
        raise
    except Exception as error:  # of another library, on data that it was not made for
        return [Broken(start, error)]
    return [] if made is None else [made]


def _closed_form(start: Start, learner: Learner, meta: MetaParams) -> Descent:
    """Its trajectory is the start and the solution, and there is nothing to set."""
    return Descent(start, learner, meta, ({},), (0, 1))


def _rates(own: float, protocol: EvaluationProtocol) -> tuple[Setting, ...]:
    """The recipe's own step size first, which wins where no other is better."""
    return tuple({"inner_lr": rate} for rate in dict.fromkeys((own, *protocol.rates)))


def _features(learner: Learner, meta: MetaParams, shape: Sequence[int]) -> Features:
    """What the head reads; the inputs themselves where the outputs are not a head's of anything.

    Args:
        shape: of an input.
    """
    try:
        check_head(learner.model, shape)
    except ModelError:
        return flat_features
    bare, head = headless(learner.model)
    body = stacked_forward(bare)
    params = {name: each for name, each in under(meta, "param.").items() if not name.startswith(f"{head}.")}

    def features(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return body(params, x).flatten(2)

    return features
