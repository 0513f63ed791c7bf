"""Aggregators, against slow loops, and what they do to liars."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from acclimate.aggregation import AGGREGATORS, Name, liars
from acclimate.tasks.episodes.randomness import Domain, generator
from acclimate.training.federated.attacks import Attack, attacked
from acclimate.training.federated.round import combined
from acclimate.training.sections import FederatedSection
from acclimate_device.federated import clipped

RNG = np.random.default_rng(1)
HONEST = RNG.normal(size=(15, 40)) * 0.3 + RNG.normal(size=40)
TRUTH = HONEST[3:].mean(0)
LYING = np.arange(15) < 3


def test_trimmed_mean_by_hand() -> None:
    updates = np.array([[1.0], [2.0], [3.0], [4.0], [100.0]])
    assert AGGREGATORS["trimmed-mean"](updates, 0.2) == [3.0]
    assert AGGREGATORS["mean"](updates, 0.2) == [22.0]


def test_clipped_mean_shortens_to_the_median_length() -> None:
    updates = np.array([[1.0, 0], [0, 2.0], [30.0, 40.0]])
    np.testing.assert_allclose(AGGREGATORS["clipped-mean"](updates, 0.2), [(1 + 1.2) / 3, (2 + 1.6) / 3])
    assert not AGGREGATORS["clipped-mean"](np.zeros((3, 2)), 0.2).any()


def test_the_geometric_median_is_nearer_to_all_than_any_step_from_it() -> None:
    at = AGGREGATORS["geometric-median"](HONEST, 0.2)

    def distances(point: np.ndarray) -> float:
        return float(np.linalg.norm(HONEST - point, axis=1).sum())

    assert all(distances(at) < distances(at + RNG.normal(size=40) * 1e-3) for _ in range(50))
    np.testing.assert_array_equal(AGGREGATORS["geometric-median"](np.ones((3, 2)), 0.2), [1.0, 1.0])


def test_multi_krum_against_a_slow_loop() -> None:
    number, false = len(HONEST), liars(len(HONEST), 0.2)
    scores = []
    for one in range(number):
        gaps = sorted(
            float(((HONEST[one] - HONEST[other]) ** 2).sum()) for other in range(number) if other != one
        )
        scores.append(sum(gaps[: number - false - 2]))
    kept = np.argsort(scores)[: number - false]
    np.testing.assert_allclose(AGGREGATORS["multi-krum"](HONEST, 0.2), HONEST[kept].mean(0), rtol=1e-12)


@pytest.mark.parametrize("name", list(AGGREGATORS))
def test_of_one_device_every_aggregator_gives_its_own(name: Name) -> None:
    np.testing.assert_allclose(AGGREGATORS[name](HONEST[:1], 0.2), HONEST[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "attack"),
    list(
        itertools.product(
            ("clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"), ("sign-flip", "noise")
        )
    ),
)
def test_a_fifth_of_liars_move_what_is_robust_less_than_the_mean(name: Name, attack: Attack) -> None:
    sent = attacked(attack, HONEST, LYING, seed=0, step=0)
    assert np.array_equal(sent[3:], HONEST[3:])
    off = {each: np.linalg.norm(AGGREGATORS[each](sent, 0.2) - TRUTH) for each in (name, "mean")}
    assert off[name] < 0.5 * off["mean"]


def test_the_same_as_flower_makes_of_the_same_updates() -> None:
    """Recorded by tests/support/flower_oracle.py in an environment of its own."""
    told = json.loads((Path(__file__).parents[1] / "support" / "flower.json").read_text())
    updates, share, found = np.array(told["updates"]), told["liars"], told["found"]
    names: tuple[Name, ...] = ("mean", "trimmed-mean", "multi-krum")
    for name in names:
        np.testing.assert_allclose(AGGREGATORS[name](updates, share), found[name], rtol=1e-12, err_msg=name)
    shortened = [clipped(update, told["clip"])[0] for update in updates]
    np.testing.assert_allclose(shortened, found["clipped"], rtol=1e-12)
    plain = FederatedSection(aggregator="mean", clip=told["clip"])
    noised = plain.model_copy(update={"noise": told["noise"]})
    added = combined(noised, updates, 0, 0).result - combined(plain, updates, 0, 0).result
    draw = generator(0, Domain.NOISE, 0).normal(size=updates.shape[1])
    np.testing.assert_allclose(added, draw * found["deviation"], rtol=1e-9)
