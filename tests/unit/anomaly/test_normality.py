"""The device's normal against the batch formulas, scipy's density and what a few anomalies may do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import t

from acclimate_device.normality import Normality, Prior

D = 3


@pytest.fixture
def prior() -> Prior:
    random = np.random.default_rng(0)
    between, within = (one @ one.T + np.eye(D) for one in random.normal(size=(2, D, D)))
    return Prior(
        mean=np.array([1.0, -2.0, 0.5]),
        between=between,
        within=within,
        weight=20.0,
        stray=4.0,
        shrink=1e-9,
        memory=1e9,
        tail=3.0,
        knee=1.5,
    )


def windows(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal([3.0, 0.0, 0.0], [1.0, 0.5, 2.0], size=(count, D))


def below_mode(centre: np.ndarray, covariance: np.ndarray, z: np.ndarray) -> np.ndarray:
    """By scipy: residuals without correlations, in deviations, each Student's t."""
    spread = np.sqrt(np.diag(covariance))
    u = (z - centre) / spread @ np.linalg.inv(sqrtm(covariance / np.outer(spread, spread)))
    density = t(df=3.0, scale=(1.5 / 3.0) ** 0.5)
    return (density.logpdf(0) - density.logpdf(u)).sum(-1)


def test_before_its_first_window_a_device_is_judged_by_the_fleet(prior):
    z = windows(5)
    expected = below_mode(prior.mean, prior.between + prior.within, z)
    np.testing.assert_allclose(Normality(prior).scores(z), expected, rtol=1e-6)


def test_many_strange_features_count_more_than_one_wild_one(prior):
    model = Normality(replace(prior, between=np.eye(D) / 2, within=np.eye(D) / 2))
    wild, strange = prior.mean + np.array([8.0, 0.0, 0.0]), prior.mean + 4.0
    assert model.score(strange) > model.score(wild)


def test_one_window_at_a_time_is_the_batch_posterior(prior):
    own = windows(64)
    model = Normality(prior)
    model.learn_many(own)
    model = Normality(prior, model.state)  # factorizes what the last windows brought
    mean, n = own.mean(0), len(own)
    trust = prior.between @ np.linalg.inv(prior.between + prior.within * prior.stray / n)
    centre = prior.mean + trust @ (mean - prior.mean)
    scatter = (own - centre).T @ (own - centre)
    covariance = (prior.weight * prior.within + scatter) / (prior.weight + n)
    covariance += prior.between - trust @ prior.between
    z = windows(7, seed=2)
    np.testing.assert_allclose(model.scores(z), below_mode(centre, covariance, z), rtol=1e-6)
    assert model.score(z[0]) == pytest.approx(model.scores(z)[0])


def test_many_windows_outweigh_the_fleet(prior):
    own = windows(4000)
    model = Normality(prior)
    model.learn_many(own)
    far = replace(prior, mean=prior.mean + 5)
    other = Normality(far)
    other.learn_many(own)
    z = windows(50, seed=3)
    apart = np.abs(model.scores(z) - other.scores(z)).max()
    assert apart < 0.3 < np.abs(Normality(prior).scores(z) - Normality(far).scores(z)).max() / 5


def test_anomalies_among_a_device_s_windows_move_little(prior):
    bounded = replace(prior, threshold=8.0)
    clean, strange = windows(200), windows(200)
    strange[::20] += 40.0  # one in twenty
    plain, robust, undisturbed = Normality(prior), Normality(bounded), Normality(bounded)
    plain.learn_many(strange)
    robust.learn_many(strange)
    undisturbed.learn_many(clean)
    anomaly = clean[0] + 40.0
    assert undisturbed.score(anomaly) > bounded.threshold
    assert robust.score(anomaly) > bounded.threshold
    assert robust.score(anomaly) > 2 * plain.score(anomaly)


def test_old_windows_fade(prior):
    model = Normality(replace(prior, memory=100.0))
    model.learn_many(windows(300))
    moved = windows(600, seed=4) + np.array([5.0, 0.0, 0.0])
    before = model.scores(moved[-50:]).mean()
    model.learn_many(moved[:-50])
    assert model.state.count == pytest.approx(100.0)
    assert model.scores(moved[-50:]).mean() < before / 2


def test_a_prior_survives_its_tensors(prior):
    again = Prior.of(prior.tensors())
    assert math.isinf(again.threshold)
    z = windows(5)
    np.testing.assert_allclose(Normality(again).scores(z), Normality(prior).scores(z), rtol=1e-4)


def test_a_prior_of_another_version_says_to_train_again(prior):
    older = prior.tensors() | {"normal.numbers": np.ones(6, np.float32)}
    with pytest.raises(ValueError, match=r"has 6 numbers where 8 are read.*: train it again"):
        Prior.of(older)


def test_many_windows_stay_finite_and_exact(prior):
    model = Normality(prior)
    model.learn_many(np.tile(windows(100), (200, 1)))
    assert model.state.count == 20_000
    np.testing.assert_allclose(model.state.mean, windows(100).mean(0), rtol=1e-9)
