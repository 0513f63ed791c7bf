"""The last layer's prior against the closed forms of balanced designs, and on fleets of known spread."""

from __future__ import annotations

import pytest
import torch

from acclimate.learners.last_layer import covariance, posterior
from acclimate.learners.mixed_effects import mixed_effects_prior

TASKS, ROWS = 400, 12


def fleet(spread: list[float], noise: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features with a constant one, targets of heads that stray from (1, 2, ..) by `spread`, weights."""
    random = torch.Generator().manual_seed(0)
    width = len(spread)
    phi = torch.randn(TASKS, ROWS, width, generator=random)
    phi[..., -1] = 1
    heads = torch.arange(1.0, width + 1) + torch.tensor(spread) * torch.randn(TASKS, width, generator=random)
    y = (phi * heads.unsqueeze(1)).sum(-1, keepdim=True)
    return phi, y + noise * torch.randn(y.shape, generator=random), torch.ones(TASKS, ROWS)


def test_levels_alone_are_the_analysis_of_variance():
    phi, y, w = fleet([2.0])
    mean, factor = mixed_effects_prior(phi, y, w, torch.zeros(1, 1))
    within = y.var(1).mean()
    between = y.mean(1).var() - within / ROWS
    assert float(mean) == pytest.approx(float(y.mean()), rel=0.01)
    assert float(covariance(factor)) == pytest.approx(float(between / within), rel=0.01)


def test_what_differs_between_tasks_may_move_and_what_does_not_may_not():
    phi, y, w = fleet([0.0, 1.0, 2.0])
    mean, factor = mixed_effects_prior(phi, y, w, torch.zeros(3, 1))
    torch.testing.assert_close(mean[:, 0], torch.tensor([1.0, 2.0, 3.0]), atol=0.2, rtol=0)
    prior = covariance(factor).diagonal() * 0.5**2
    torch.testing.assert_close(prior[1:], torch.tensor([1.0, 4.0]), atol=0, rtol=0.15)
    assert prior[0] < 0.01


def test_two_outputs_share_a_spread_in_units_of_their_noise():
    phi, y, w = fleet([0.5, 1.0])
    one = mixed_effects_prior(phi, y, w, torch.zeros(2, 1))
    both = mixed_effects_prior(phi, torch.cat([y, 10 * y], -1), w, torch.zeros(2, 2))
    torch.testing.assert_close(covariance(both[1]), covariance(one[1]), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(both[0][:, 1:], 10 * one[0], rtol=1e-3, atol=1e-3)


def test_padding_counts_for_nothing():
    phi, y, w = fleet([0.3, 1.0])
    longer_phi, longer_y = (torch.cat([each, torch.full_like(each[:, :5], 7.0)], 1) for each in (phi, y))
    longer = torch.cat([w, torch.zeros(TASKS, 5)], 1)
    for got, expected in zip(
        mixed_effects_prior(longer_phi, longer_y, longer, torch.zeros(2, 1)),
        mixed_effects_prior(phi, y, w, torch.zeros(2, 1)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_with_more_features_than_examples_new_tasks_are_told_nearly_as_by_the_true_spread():
    spread = torch.tensor([0.1] * 30 + [1.0])
    phi, y, w = fleet(spread.tolist())
    known, new, few, rest = slice(0, 40), slice(40, None), slice(0, 4), slice(4, None)
    middle = torch.arange(1.0, 32.0).unsqueeze(1)
    mean, factor = mixed_effects_prior(phi[known], y[known], w[known], middle)
    errors = []
    for prior in (covariance(factor), (spread / 0.5).square().diag(), torch.eye(31)):
        after, _ = posterior(mean, prior, phi[new, few], y[new, few], w[new, few])
        errors.append(float((phi[new, rest] @ after - y[new, rest]).square().mean()))
    assert errors[0] < errors[1] + 0.2 * (errors[2] - errors[1])
