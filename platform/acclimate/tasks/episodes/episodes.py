"""What a learner sees: support and query examples of some tasks, as tensors.

Shapes: the examples of `n` tasks are stacked on a leading task axis. `x` is `(tasks, examples, *input_shape)`
float32, normalized; an input is `(channels, time)` for windows, `(features,)` for single rows and
`(channels, height, width)` for images. `y` is int64 `(tasks, examples)` for classes and float32
`(tasks, examples, outputs)` for real targets, normalized too. `w` is float32 `(tasks, examples)`: 1 for an
example, 0 for padding, where a task has too few examples (of a class) or lacks the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from acclimate.errors import DataError
from acclimate.initialization import InputSchema, Normalization

Indices = npt.NDArray[np.int64]
Order = Literal["time", "random"]


class Examples(NamedTuple):
    """Inputs, targets and weights of examples; a tuple, so that learners need not import this package."""

    x: torch.Tensor
    y: torch.Tensor
    w: torch.Tensor


@dataclass(frozen=True)
class Episodes:
    """Episodes of some tasks: adapt to `support`, judge on `query`.

    Classification examples are ordered by class, then by time: `support.x[t, c * shots + i]` is the i-th
    support example of class c of task t.
    """

    support: Examples
    query: Examples
    task_ids: tuple[str, ...]


@dataclass(frozen=True)
class EpisodePlan:
    """How an episode is cut out of a task.

    Attributes:
        shots: support examples of each class (classification) or in all.
        query_shots: query examples, counted likewise.
        ways: classes of an episode where every task of the pool is one class (Omniglot); None elsewhere.
        order: `time`: support precedes query, as on a device; `random`: neither precedes, but they still
            share no row. Random splits flatter: 0.886 against 0.817 on a wearable data set.
        support_fraction: the part of the timeline, from its start, that support is drawn from (`time`).
        gap: rows left unused between the end of any support example and the start of any query (`time`).
        newest: share of episodes whose support is the newest examples before the cut, whole (`time`).
        query_span: examples after the support that these episodes draw their query from; None: all.
        anywhen: these episodes are cut at random moments, for training; else where the others are.
        vary: numbers of support examples to draw from for each episode, at most `shots`; empty: `shots`.
    """

    shots: int
    query_shots: int = 15
    ways: int | None = None
    order: Order = "time"
    support_fraction: float = 0.5
    gap: int = 0
    newest: float = 0.0
    query_span: int | None = None
    anywhen: bool = False
    vary: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, value, least in (
            ("shots", self.shots, 1),
            ("query_shots", self.query_shots, 1),
            ("ways", self.ways if self.ways is not None else 2, 2),
            ("gap", self.gap, 0),
            ("query_span", self.query_span if self.query_span is not None else 1, 1),
            ("vary", min(self.vary, default=0), 0),
        ):
            if value < least:
                raise DataError(f"{name} is {value}: it must be at least {least}")
        if not 0 < self.support_fraction < 1:
            raise DataError(f"support_fraction is {self.support_fraction}: it must lie between 0 and 1")
        if self.vary and max(self.vary) > self.shots:
            raise DataError(f"vary has {max(self.vary)}, but shots is {self.shots}: raise shots or lower it")
        if not 0 <= self.newest <= 1:
            raise DataError(f"newest is {self.newest}: it is a share of episodes, between 0 and 1")
        if self.newest and self.order != "time":
            raise DataError(f"newest is {self.newest} and order {self.order!r}: it needs order 'time'")
        if self.order not in ("time", "random"):
            raise DataError(f"order is {self.order!r}: it must be 'time' or 'random'")


class Sampler(Protocol):
    """Draws episodes; every method is a pure function of its arguments, with no hidden state."""

    @property
    def schema(self) -> InputSchema: ...

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    @property
    def outputs(self) -> int:
        """Width of a model's output layer: classes, targets, or targets x horizon."""

    def episodes(self, step: int, indices: Sequence[int]) -> Episodes:
        """The episodes at `indices` of the meta-batch of `step`.

        Shards join exactly: `episodes(s, [0, 1])` holds the same bits as `episodes(s, [0])` and
        `episodes(s, [1])`. The tasks of one step differ until every task was drawn.
        """

    def every_task(self, draw: int = 0) -> Episodes:
        """One episode of every task, for evaluation; another `draw` gives other examples."""


@dataclass(frozen=True)
class Around:
    """A sampler that changes the training episodes of another; its `episodes` says how. All else stays."""

    sampler: Sampler

    @property
    def schema(self) -> InputSchema:
        return self.sampler.schema

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.sampler.input_shape

    @property
    def outputs(self) -> int:
        return self.sampler.outputs

    def every_task(self, draw: int = 0) -> Episodes:
        return self.sampler.every_task(draw)


class TaskDistribution(Protocol):
    """Tasks to meta-train on: a `TaskPool` of recordings, or a generator of tasks."""

    @property
    def task_ids(self) -> tuple[str, ...]: ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Who owns each task, by task: what a split must not tear apart."""

    @property
    def schema(self) -> InputSchema: ...

    def labels_of(self, tasks: Indices) -> tuple[str, ...]:
        """The labels that occur in these tasks; empty for real targets."""

    def normalization(self, tasks: Indices) -> Normalization:
        """Mean and scale of each channel and target over `tasks`: pass the training tasks only."""

    def sampler(
        self, tasks: Indices, plan: EpisodePlan, normalization: Normalization | None = None, seed: int = 0
    ) -> Sampler: ...
