"""Where closed-form heads begin: what the moments of the training tasks say of devices to come."""

from __future__ import annotations

import pytest
import torch

from acclimate.learners import class_means
from acclimate.learners.moments import class_mean_prior
from tests.unit.learners.test_closed_form import CLASSES, wide


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_moments_find_the_fleet_that_made_the_data() -> None:
    tasks, shots, width = 400, 40, 5
    fleet = 2 * wide(CLASSES, width)
    spread = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 0.3]], dtype=torch.float64)
    stray = torch.linalg.cholesky(spread) @ wide(tasks, CLASSES, width)
    y = torch.arange(CLASSES).repeat_interleave(shots).expand(tasks, -1)
    own = (fleet + stray)[:, torch.arange(CLASSES).repeat_interleave(shots)]
    features = own + wide(tasks, CLASSES * shots, width)
    w = torch.ones(tasks, CLASSES * shots, dtype=torch.float64)
    w[:200, -shots:] = 0  # half of the tasks lack the last class
    prior = class_mean_prior(features, y, w, CLASSES)
    back = torch.linalg.inv(prior["projection"])
    torch.testing.assert_close(prior["mean"] @ back.T, fleet, rtol=0, atol=0.15)
    found = class_means.covariance(prior["factor"]) / 0.5
    torch.testing.assert_close(found, spread, rtol=0, atol=0.12)


def test_moments_of_a_few_devices_by_hand() -> None:
    """One feature, two examples one above and one below each class mean: their variance is 2, and what that
    adds to the spread of the means is taken off again, a half of it."""
    means = torch.tensor([[-8, 4], [-4, -4], [0, -8], [4, 0], [8, 8]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1]).expand(5, -1)
    features = (means[:, [0, 0, 1, 1]] + torch.tensor([1.0, -1.0, 1.0, -1.0])).unsqueeze(-1)
    prior = class_mean_prior(features, y, torch.ones(5, 4, dtype=torch.float64), 2)
    raw = means.T @ means / 5 / 2 - torch.eye(2) / 2
    unseen = 5 / 4 * (6 / 5 * 4 / 2)  # of five tasks, whose own mean it is: a device to come strays further
    expected = 0.5 * unseen * raw + 1e-3 * torch.eye(2)
    torch.testing.assert_close(class_means.covariance(prior["factor"]), expected, rtol=0, atol=1e-3)
    assert prior["projection"].abs().item() == pytest.approx(0.5**0.5)
    assert prior["mean"].abs().max().item() == 0.0


def test_the_projection_whitens_what_differs_within_a_class() -> None:
    y = torch.arange(CLASSES).repeat(40).expand(30, -1)
    prior = class_mean_prior(3 * wide(30, 120, 4), y, torch.ones(30, 120).double(), CLASSES)
    back = torch.linalg.inv(prior["projection"])
    torch.testing.assert_close(back @ back.T, 9 * torch.eye(4).double(), rtol=0, atol=0.8)


def test_a_class_no_task_holds_strays_like_the_others() -> None:
    features, y = wide(6, 20, 4), torch.arange(2).repeat(10).expand(6, -1)
    prior = class_mean_prior(features, y, torch.ones(6, 20, dtype=torch.float64), CLASSES)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in prior.values())
    torch.testing.assert_close(prior["mean"][2], prior["mean"][:2].mean(0))
    single = class_mean_prior(features[:1], y[:1], torch.ones(1, 20, dtype=torch.float64), CLASSES)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in single.values())
