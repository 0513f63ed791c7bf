"""Who is compared: ways to answer a task's queries from its support, behind one small interface.

A contender has settings, such as step sizes, and may be measured after several numbers of adaptation steps.
Which setting and which number count is chosen on validation tasks, for every contender alike (`choose`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from acclimate.evaluation.statistics import Values
from acclimate.learners import Learner, Loss, MetaParams, build_learner, weighted_mean
from acclimate.tasks import Episodes

Start = Literal[
    "meta",
    "joint_finetuned",
    "joint_solved",
    "joint",
    "nearest",
    "device_only",
    "trees",
    "linear",
    "support",
    "persistence",
    "seasonal",
]
LABELS: dict[Start, str] = {
    "meta": "this start",
    "joint_finetuned": "joint + fine-tuning",
    "joint_solved": "joint + solved head",
    "joint": "joint model",
    "nearest": "nearest of the support",
    "device_only": "device only",
    "trees": "pooled boosted trees",
    "linear": "pooled linear model",
    "support": "one answer a device",
    "persistence": "last value",
    "seasonal": "last season",
}
Setting = Mapping[str, float | str]


class Contender(Protocol):
    """One way to answer.

    Attributes:
        start: which one.
        settings: what may be chosen, the most cautious first: it wins where nothing is better.
        steps: numbers of adaptation steps it is measured after, ascending; 0 alone where it takes none.
    """

    @property
    def start(self) -> Start: ...

    @property
    def settings(self) -> Sequence[Setting]: ...

    @property
    def steps(self) -> tuple[int, ...]: ...

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        """Outputs for the queries, `(tasks, examples, outputs)`, after each of `steps`."""


@dataclass(frozen=True)
class Descent:
    """A start that adapts by its learner: by gradient steps, or in closed form.

    Attributes:
        learner: whose inner loop adapts it.
        meta: the start.
        settings: `inner_lr`, the step size; or `rates`, a factor to the learned rates; or nothing to choose.
    """

    start: Start
    learner: Learner
    meta: MetaParams
    settings: Sequence[Setting]
    steps: tuple[int, ...]

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        learner, meta = at_setting(self.learner, self.meta, setting)
        trajectory = learner.adapt(meta, episodes.support, max(self.steps))
        return [learner.predict(trajectory[step], episodes.query.x) for step in self.steps]


@dataclass(frozen=True)
class Broken:
    """One that could not be made: whoever asks it hears why."""

    start: Start
    error: Exception

    settings: ClassVar[Sequence[Setting]] = ({},)
    steps: ClassVar[tuple[int, ...]] = (0,)

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        raise self.error


@dataclass(frozen=True)
class Choice:
    """A contender's setting and number of steps, as chosen on validation tasks.

    Attributes:
        position: of the number of steps in the contender's `steps`.
        value: the metric it reached there, mean over validation tasks; None where nothing was finite.
    """

    setting: Setting
    position: int
    value: float | None


def at_setting(learner: Learner, meta: MetaParams, setting: Setting) -> tuple[Learner, MetaParams]:
    """The learner and the start that adapt by a setting."""
    if "inner_lr" in setting:
        config = replace(learner.config, inner_lr=float(setting["inner_lr"]))
        learner = build_learner(config, learner.model, learner.loss)
    factor = float(setting.get("rates", 1.0))
    if factor != 1.0:
        meta = {name: each * factor if name.startswith("rate.") else each for name, each in meta.items()}
    return learner, meta


def higher_is_better(loss: Loss) -> bool:
    """Whether more of the metric is better."""
    return loss.metric_name == "accuracy"


def measure(contender: Contender, loss: Loss, episodes: Sequence[Episodes], setting: Setting) -> Values:
    """The query metric after each number of steps, `(steps, tasks)`, averaged over episodes."""
    return np.mean([values_of(contender.outputs(each, setting), loss, each) for each in episodes], axis=0)


def values_of(outputs: Sequence[Tensor], loss: Loss, episodes: Episodes) -> Values:
    """The metric of each task for each entry of `outputs`, `(entries, tasks)`."""
    _, y, w = episodes.query
    return torch.stack([weighted_mean(loss.metric(each, y), w) for each in outputs]).double().numpy()


def choose(
    trials: Sequence[tuple[Contender, Sequence[Episodes]]], loss: Loss, budget: int, least: int = 0
) -> Choice:
    """The setting and the number of steps, from `least` to `budget`, whose mean over tasks is best.

    What overflows loses, and of equals the one that is asked for first and takes fewer steps wins.

    Args:
        trials: the same contender with the tasks to choose on; several, each trained without its own tasks,
            where no task can be spared from training.
    """
    contender = trials[0][0]
    allowed = [position for position, steps in enumerate(contender.steps) if least <= steps <= budget]
    allowed = allowed or [len(contender.steps) - 1 if least else 0]
    sign = 1.0 if higher_is_better(loss) else -1.0
    best: tuple[float, Choice] | None = None
    within = [(_until(one, max(allowed)), episodes) for one, episodes in trials]
    for setting in contender.settings:
        rows = [measure(one, loss, episodes, setting) for one, episodes in within]
        means = np.concatenate(rows, axis=1).mean(axis=1)
        for position in allowed:
            value = float(means[position])
            if np.isfinite(value) and (best is None or sign * value > best[0]):
                best = sign * value, Choice(setting, position, value)
    return best[1] if best else Choice(contender.settings[0], allowed[0], None)


def _until(contender: Contender, position: int) -> Contender:
    """Without the steps after a position: a curve goes on for ten times what anybody is judged at."""
    if not isinstance(contender, Descent):
        return contender
    return replace(contender, steps=contender.steps[: position + 1])
