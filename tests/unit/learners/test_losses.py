from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from acclimate.learners import LOSSES, weighted_mean


@pytest.mark.parametrize(
    ("name", "reference"),
    [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)],
)
def test_real_losses_agree_with_torch(name: str, reference: object) -> None:
    outputs, targets = 3 * torch.randn(4, 5, 2), torch.randn(4, 5, 2)
    expected = reference(outputs, targets, reduction="none").mean(-1)
    torch.testing.assert_close(LOSSES[name](outputs, targets), expected)


def test_cross_entropy_and_accuracy_agree_with_torch() -> None:
    outputs, targets = torch.randn(4, 5, 3), torch.randint(0, 3, (4, 5))
    expected = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none").reshape(4, 5)
    torch.testing.assert_close(LOSSES["cross_entropy"](outputs, targets), expected)
    hits = LOSSES["cross_entropy"].metric(outputs, targets)
    assert hits.tolist() == (outputs.argmax(-1) == targets).float().tolist()


def test_weights_count_examples_and_no_weight_at_all_is_zero() -> None:
    values = torch.tensor([[1.0, 2.0, 9.0], [5.0, 5.0, 5.0]])
    assert weighted_mean(values, torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])).tolist() == [1.75, 0.0]
