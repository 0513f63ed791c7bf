"""What an update or a version gives away of one device, by known attacks: bounds, and no promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.learners.statistics import last_layer_prior
from acclimate.privacy import noise_for
from acclimate.training.federated.round import combined
from acclimate.training.sections import FederatedSection
from acclimate_device.federated import clipped, moments, unpacked
from tests.support.first_order import first_order

INPUTS, HIDDEN, CLASSES = 24, 32, 6
RATE = 0.1
Arrays = dict[str, np.ndarray]


def network(rng: np.random.Generator) -> Arrays:
    return {
        "body.weight": rng.normal(size=(HIDDEN, INPUTS)) / INPUTS**0.5,
        "body.bias": 0.1 * rng.normal(size=HIDDEN),
        "head.weight": rng.normal(size=(CLASSES, HIDDEN)) / HIDDEN**0.5,
        "head.bias": np.zeros(CLASSES),
    }


def step(params: Any, batch: Any, number: int) -> Arrays:
    del number
    held = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    hidden = torch.relu(torch.tensor(batch[0]) @ held["body.weight"].T + held["body.bias"])
    logits = hidden @ held["head.weight"].T + held["head.bias"]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch[1]))
    gradients = torch.autograd.grad(loss, list(held.values()))
    return {
        name: value.detach().numpy() - RATE * gradient.numpy()
        for (name, value), gradient in zip(held.items(), gradients, strict=True)
    }


def rebuilt(update: Arrays, inputs: np.ndarray) -> float:
    """Share of a batch that stands in its update within 1 %: each unit's row of the first layer over its bias
    is the mean of the inputs that it saw (Phong et al. 2017)."""
    bias = update["body.bias"]
    rows = update["body.weight"][bias != 0] / bias[bias != 0, None]
    off = np.linalg.norm(rows[:, None] - inputs, axis=2) / np.linalg.norm(inputs, axis=1)
    return float((off.min(axis=0) < 0.01).mean())


def told(batch: int, seed: int, hide: Callable[[np.ndarray], np.ndarray] = lambda vector: vector) -> float:
    """What is rebuilt of a round's update of so many examples, after `hide`."""
    rng = np.random.default_rng(seed)
    start, inputs = network(rng), rng.normal(size=(batch, INPUTS))
    labels = rng.integers(CLASSES, size=batch)
    other = (rng.normal(size=(18, INPUTS)), rng.integers(CLASSES, size=18))
    update = first_order(step, start, other, (inputs, labels), steps=2, rate=RATE)
    vector = hide(np.concatenate([part.ravel() for part in update.values()]))
    parts, at = {}, 0
    for name, part in update.items():
        parts[name] = vector[at : at + part.size].reshape(part.shape)
        at += part.size
    return rebuilt(parts, inputs)


def test_one_example_stands_in_its_update_and_eighteen_do_not() -> None:
    assert told(1, seed=0) == 1.0
    assert np.mean([told(4, seed) for seed in range(4)]) > 0.2  # why a batch has eighteen at the least
    assert max(told(18, seed) for seed in range(4)) == 0.0


def test_clip_and_noise_hide_even_one_example() -> None:
    def hidden(vector: np.ndarray) -> np.ndarray:
        return clipped(vector, 0.5)[0] + np.random.default_rng(1).normal(size=vector.shape) * 0.5

    assert max(told(1, seed, hidden) for seed in range(4)) == 0.0


@pytest.mark.parametrize(("examples", "found"), [(1, True), (8, False)])
def test_moments_of_eight_examples_show_none_of_them(examples: int, found: bool) -> None:
    """Of one, the only direction there is; of eight, the directions that they span and not which they are."""
    rng = np.random.default_rng(2)
    phi = rng.normal(size=(examples, INPUTS))
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    gram, _ = unpacked(moments(phi, np.eye(CLASSES)[rng.integers(CLASSES, size=examples)]), INPUTS, CLASSES)
    directions = np.linalg.eigh(gram)[1].T
    alike = np.abs(directions @ phi.T).max()
    assert (alike > 0.99) == found


def separation(noise: float) -> float:
    """Area under the curve of who was in a round, guessed by how well its version does on them (Shokri et al.
    2017); a half is chance."""
    rng = np.random.default_rng(3)
    middle, devices = rng.normal(size=(CLASSES, INPUTS)), 40
    people = [_person(rng, middle) for _ in range(2 * devices)]
    vectors = np.stack([moments(phi, targets) for phi, targets in people[:devices]])
    section = FederatedSection(aggregator="mean", clip=1.0, noise=noise)
    gram, products = unpacked(combined(section, vectors, 0, 0).result, INPUTS, CLASSES)
    head, _ = last_layer_prior(torch.from_numpy(gram), torch.from_numpy(products), 10.0, 0.03)
    errors = np.array([np.mean((phi @ head.numpy() - targets) ** 2) for phi, targets in people])
    inside, outside = errors[:devices], errors[devices:]
    return float((inside[:, None] < outside[None]).mean())


def _person(rng: np.random.Generator, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(CLASSES, size=24)
    phi = middle[labels] + rng.normal(size=middle.shape)[labels] + rng.normal(size=(24, INPUTS))
    return phi / np.linalg.norm(phi, axis=1, keepdims=True), np.eye(CLASSES)[labels] - 1 / CLASSES


def test_membership_shows_a_little_in_a_version_and_less_with_noise() -> None:
    plain = separation(0.0)
    assert 0.5 < plain < 0.8
    private = separation(noise_for(3.0, 1, 1e-5))
    assert abs(private - 0.5) < 0.12
