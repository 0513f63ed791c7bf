"""Sinusoid regression as in the MAML paper (Finn, Abbeel, Levine, 2017, section 5.1).

A task is `y = amplitude * sin(x - phase)` with amplitude in [0.1, 5], phase in [0, pi] and x in [-5, 5], all
uniform. Nothing is stored: a task is a pure function of (seed, task), its examples of (seed, step, index).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from acclimate.initialization import InputSchema, Normalization
from acclimate.tasks.episodes import EpisodePlan, Episodes, Examples, Indices
from acclimate.tasks.episodes.randomness import Domain, Floats, distinct_tasks, generator, uniforms
from acclimate.tasks.episodes.variation import variation

SCHEMA = InputSchema(kind="regression", channels=("x",), targets=("y",))


@dataclass(frozen=True)
class Sinusoids:
    """A fixed population of sinusoid tasks, so that some can be held out like recorded ones."""

    tasks: int = 50_000
    seed: int = 0

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        return tuple(f"sinusoid-{task}" for task in range(self.tasks))

    @property
    def groups(self) -> tuple[str, ...]:
        return self.task_ids

    @property
    def schema(self) -> InputSchema:
        return SCHEMA

    @cached_property
    def parameters(self) -> Floats:
        """Amplitude and phase of every task, (tasks, 2)."""
        drawn = generator(self.seed, Domain.GENERATED_TASKS).random((self.tasks, 2))
        return drawn * (4.9, math.pi) + (0.1, 0.0)

    def labels_of(self, tasks: Indices) -> tuple[str, ...]:
        return ()

    def normalization(self, tasks: Indices) -> Normalization:
        """None is applied, as in the paper."""
        return Normalization(mean=(0.0,), scale=(1.0,), target_mean=(0.0,), target_scale=(1.0,))

    def sampler(
        self, tasks: Indices, plan: EpisodePlan, normalization: Normalization | None = None, seed: int = 0
    ) -> SinusoidSampler:
        return SinusoidSampler(self, tasks, plan, seed)


@dataclass(frozen=True)
class SinusoidSampler:
    """Episodes of sinusoid tasks: `shots` support and `query_shots` query points, x uniform."""

    source: Sinusoids
    tasks: Indices
    plan: EpisodePlan
    seed: int

    @property
    def schema(self) -> InputSchema:
        return SCHEMA

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def outputs(self) -> int:
        return 1

    def episodes(self, step: int, indices: Sequence[int]) -> Episodes:
        tasks = self.tasks[distinct_tasks(self.seed, step, indices, len(self.tasks))]
        return self._draw(Domain.EXAMPLES, step, indices, tasks)

    def every_task(self, draw: int = 0) -> Episodes:
        return self._draw(Domain.EVALUATION, draw, self.tasks.tolist(), self.tasks)

    def _draw(self, domain: Domain, step: int, indices: Sequence[int], tasks: Indices) -> Episodes:
        shots = self.plan.shots
        varied = variation(self.plan, self.seed, step, indices, 1)
        x = uniforms(self.seed, domain, step, indices, shots + self.plan.query_shots) * 10.0 - 5.0
        amplitude, phase = self.source.parameters[tasks].T[:, :, None]
        y = amplitude * np.sin(x - phase)
        support = _examples(x[:, :shots], y[:, :shots])
        if varied is not None:  # points are drawn alike: the first are as random as any
            kept = np.arange(shots) < varied.shots[:, None]
            support = support._replace(w=torch.from_numpy(kept.astype(np.float32)))
        return Episodes(
            support=support,
            query=_examples(x[:, shots:], y[:, shots:]),
            task_ids=tuple(f"sinusoid-{task}" for task in tasks),
        )


def _examples(x: Floats, y: Floats) -> Examples:
    inputs, targets = (torch.from_numpy(values[:, :, None].astype(np.float32)) for values in (x, y))
    return Examples(inputs, targets, torch.ones(x.shape))
