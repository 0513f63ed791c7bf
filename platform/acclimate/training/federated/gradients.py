"""Rounds of gradients: each device of a meta-batch is a shard of its own, and one vector comes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.learners import MetaParams
from acclimate.training.federated.attacks import attacked, who_lies
from acclimate.training.federated.round import combined
from acclimate.training.loop import ComputeShards
from acclimate.training.problem import Problem
from acclimate.training.shard import ShardResult


def gradient_round(
    problem: Problem, compute: ComputeShards, meta: MetaParams, step: int, shards: Sequence[list[int]]
) -> list[ShardResult]:
    """What `compute` would give for the shards, had devices clipped, rounded and lied as the recipe says.

    Returns:
        One result, whose mean over its tasks is the round's.
    """
    section = problem.recipe.federated
    assert section is not None
    indices = [index for shard in shards for index in shard]
    results = compute(meta, step, [[index] for index in indices])
    vectors, seed = np.stack([_flat(result.gradient) for result in results]), problem.recipe.seed
    if section.attack:
        lying = who_lies(seed, step, indices, len(problem.training_devices()), section.attackers)
        vectors = attacked(section.attack, vectors, lying, seed, step)
    done = combined(section, vectors, seed, step)
    devices = len(results)
    figures = {name: sum(each.figures[name] for each in results) for name in results[0].figures}
    figures |= {name: value * devices for name, value in done.figures().items()}
    mean = _parts(done.result, results[0].gradient)
    return [ShardResult({name: part * devices for name, part in mean.items()}, figures)]


def _flat(gradient: MetaParams) -> NDArray[np.float64]:
    return torch.cat([part.reshape(-1) for part in gradient.values()]).double().numpy()


def _parts(vector: NDArray[np.float64], like: MetaParams) -> MetaParams:
    whole, parts, at = torch.from_numpy(vector), dict[str, torch.Tensor](), 0
    for name, tensor in like.items():
        parts[name] = whole[at : at + tensor.numel()].reshape(tensor.shape).to(tensor.dtype)
        at += tensor.numel()
    return parts
