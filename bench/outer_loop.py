"""The plainest outer loop that drives a learner: Adam on the mean meta-gradient, one process, one thread."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from acclimate.learners import Learner, MetaParams
from acclimate.tasks.episodes import Sampler


@dataclass(frozen=True)
class Moment:
    """Where training stands. Times exclude whatever the caller does between two moments."""

    step: int
    meta: MetaParams
    loss: float
    wall_s: float
    cpu_s: float


def meta_train(
    learner: Learner,
    meta: MetaParams,
    sampler: Sampler,
    *,
    steps: int,
    meta_batch: int,
    outer_lr: float,
    clip: float = math.inf,
) -> Iterator[Moment]:
    """Yield after every step; the rate falls by a cosine to a hundredth, gradients are cut to `clip`."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in meta.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=outer_lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    )
    wall_s = cpu_s = 0.0
    for step in range(steps):
        wall, cpu = time.perf_counter(), time.process_time()
        episodes = sampler.episodes(step, range(meta_batch))
        gradient, figures = learner.meta_gradient(leaves, episodes.support, episodes.query, step)
        for name, leaf in leaves.items():
            leaf.grad = gradient[name] / figures["tasks"]
        torch.nn.utils.clip_grad_norm_(leaves.values(), clip)
        optimizer.step()
        schedule.step()
        wall_s += time.perf_counter() - wall
        cpu_s += time.process_time() - cpu
        now = {name: leaf.detach() for name, leaf in leaves.items()}
        yield Moment(step + 1, now, float(figures["loss"] / figures["tasks"]), wall_s, cpu_s)
