"""MAML's second-order term, solved by hand, and meta-gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from acclimate.learners import LOSSES, LearnerConfig, build_learner
from acclimate.models import parameters_of


class Scale(nn.Module):
    """y = a x, so that with squared error every gradient has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.a


def batch(x: float, y: float) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.full((1, 1, 1), x, dtype=torch.float64),
        torch.full((1, 1, 1), y, dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Support (1, 3): a' = a - 0.1 * 2 (a - 3) = 0.8 a + 0.6 = 2.2.
        # Query (2, 5): d/da' = 2 * 2 (2 a' - 5) = -2.4.
        (LearnerConfig("maml", 0.1, 1), {"param.a": -2.4 * 0.8}),
        (LearnerConfig("maml", 0.1, 1, first_order=True), {"param.a": -2.4}),
        # Two steps: a'' = 0.64 a + 0.48 + 0.6 = 2.36, d/da'' = 4 (4.72 - 5) = -1.12, times 0.8 twice.
        (LearnerConfig("maml", 0.1, 2), {"param.a": -1.12 * 0.64}),
        # d a' / d rate = -2 (a - 3) = 2.
        (LearnerConfig("meta-sgd", 0.1, 1), {"param.a": -2.4 * 0.8, "rate.a": -2.4 * 2}),
        # Halfway through annealing the weights are 1/4 and 3/4. The first rate moves a' by 2 and a'' by
        # 0.8 * 2, the second moves a'' by -2 (a' - 3) = 1.6.
        (
            LearnerConfig("maml++", 0.1, 2, multi_step=10),
            {
                "param.a": -2.4 * 0.8 / 4 - 1.12 * 0.64 * 3 / 4,
                "rate.a": [-2.4 * 2 / 4 - 1.12 * 0.8 * 2 * 3 / 4, -1.12 * 1.6 * 3 / 4],
            },
        ),
        # Reptile adapts to both: d/da ((a - 3)^2 + (2 a - 5)^2) / 2 = (a - 3) + 2 (2 a - 5) = -3.
        (LearnerConfig("reptile", 0.1, 1), {"param.a": -0.3}),
        (LearnerConfig("joint", 0.1, 1), {"param.a": -3.0}),
        (LearnerConfig("device-only", 0.1, 1), {"param.a": 0.0}),
    ],
)
def test_one_weight_solved_by_hand(config: LearnerConfig, expected: dict[str, float | list[float]]) -> None:
    model = Scale()
    learner = build_learner(config, model, LOSSES["mse"])
    meta = learner.init(parameters_of(model))
    gradient, _ = learner.meta_gradient(meta, batch(1, 3), batch(2, 5), 5)
    assert gradient.keys() == expected.keys()
    for name, value in expected.items():
        wanted = torch.tensor(value, dtype=torch.float64).reshape(gradient[name].shape)
        torch.testing.assert_close(gradient[name], wanted)


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta-sgd", "maml++", "joint"])
def test_meta_gradient_agrees_with_finite_differences(algorithm: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    learner = build_learner(LearnerConfig(algorithm, 0.2, 2), model, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(model))
    support, query = (
        (
            torch.randn(3, examples, 3, dtype=torch.float64),
            torch.randint(0, 2, (3, examples)),
            torch.ones(3, examples, dtype=torch.float64),
        )
        for examples in (4, 6)
    )
    step = learner.config.multi_step  # past the multi-step loss, whose figures hold one of its terms only
    gradient, _ = learner.meta_gradient(meta, support, query, step)
    for name, tensor in meta.items():
        for index in range(0, tensor.numel(), 3):
            nudge = torch.zeros_like(tensor).reshape(-1)
            nudge[index] = 1e-5
            nudge = nudge.reshape(tensor.shape)
            up, down = (
                learner.meta_gradient({**meta, name: tensor + sign * nudge}, support, query, step)[1]["loss"]
                for sign in (1, -1)
            )
            found = gradient[name].reshape(-1)[index]
            torch.testing.assert_close(found, (up - down) / 2e-5, rtol=1e-6, atol=1e-8)
