"""Every learner against a slow loop over tasks with plain autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.initialization import ModelSpec
from acclimate.learners import LOSSES, Learner, LearnerConfig, build_learner, in_units
from acclimate.models import build, parameters_of

TASKS, SHOTS, QUERIES = 3, 4, 5
CONFIGS = {
    "maml": LearnerConfig("maml", 0.1, 3),
    "first order": LearnerConfig("maml", 0.1, 3, first_order=True),
    "anil": LearnerConfig("anil", 0.1, 3),
    "biases": LearnerConfig("maml", 0.1, 2, trainable="biases"),
    "meta-sgd": LearnerConfig("meta-sgd", 0.1, 2),
    "maml++": LearnerConfig("maml++", 0.1, 3, multi_step=10),
    "joint": LearnerConfig("joint", 0.1, 2),
    "reptile": LearnerConfig("reptile", 0.1, 3),
    "serial reptile": LearnerConfig("reptile", 0.1, 3, serial=True, serial_rate=0.3),
}
MODELS = {
    "mlp": ModelSpec("mlp", (3,), 2, {"hidden": [5]}),
    "conv1d": ModelSpec("conv1d", (2, 6), 2, {"filters": 4, "blocks": 2, "kernel": 3}),
    "conv1d batch": ModelSpec("conv1d", (2, 6), 2, {"filters": 3, "blocks": 2, "kernel": 3, "norm": "batch"}),
    "conv4": ModelSpec("conv4", (1, 6, 6), 2, {"filters": 3, "blocks": 2}),
    "gru": ModelSpec("gru", (2, 4), 2, {"hidden": 3}),
    "scaled": ModelSpec("scaled", (3,), 2),
}


class Scaled(nn.Sequential):
    """A network that counts its errors in a scale of each input."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

    def units(self, x: Tensor) -> Tensor:
        return 1.0 + x.abs().sum(-1, keepdim=True)


def scene(model_name: str, loss_name: str = "mse") -> tuple[nn.Module, tuple, tuple]:
    torch.manual_seed(0)
    spec = MODELS[model_name]
    model = (Scaled() if model_name == "scaled" else build(spec)).double()

    def batch(examples: int) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randn(TASKS, examples, *spec.input_shape, dtype=torch.float64)
        y = (
            torch.randint(0, 2, (TASKS, examples))
            if loss_name == "cross_entropy"
            else torch.randn(TASKS, examples, 2, dtype=torch.float64)
        )
        w = torch.rand(TASKS, examples, dtype=torch.float64)
        w[0, -1] = 0.0
        return x, y, w

    return model, batch(SHOTS), batch(QUERIES)


def slow_meta_gradient(
    learner: Learner, model: nn.Module, meta: dict, support: tuple, query: tuple, step: int
) -> dict:
    """One task at a time, one parameter dict at a time: what the papers say, with no regard for speed."""
    config, loss = learner.config, learner.loss
    names = [name for name, _ in model.named_parameters()]

    def objective(params: dict, batch: tuple) -> Tensor:
        x, y, w = batch
        units = model.units(x) if isinstance(model, Scaled) else None
        values = in_units(loss, functional_call(model, params, (x,)), y, units)
        return (values * w).sum() / w.sum()

    def adapted(leaves: dict, batch: tuple, create_graph: bool) -> list[dict]:
        params = {name: leaves[f"param.{name}"] for name in names}
        trajectory = []
        for k in range(config.inner_steps):
            gradients = torch.autograd.grad(
                objective(params, batch), [params[n] for n in learner.trainable], create_graph=create_graph
            )
            for name, gradient in zip(learner.trainable, gradients, strict=True):
                rate = leaves.get(f"rate.{name}")
                size = config.inner_lr if rate is None else rate[k if len(rate) > 1 else 0]
                params = {**params, name: params[name] - size * gradient}
            trajectory.append(params)
        return trajectory

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in meta.items()}
    if config.algorithm == "reptile":
        start = leaves
        total = {name: torch.zeros_like(tensor) for name, tensor in leaves.items()}
        for task in range(TASKS):
            both = tuple(torch.cat([s[task], q[task]]) for s, q in zip(support, query, strict=True))
            end = adapted(start, both, False)[-1]
            move = {f"param.{n}": (start[f"param.{n}"] - end[n]).detach() for n in names}
            total = {name: total[name] + move[name] for name in total}
            if config.serial:
                start = {
                    n: (start[n] - config.serial_rate * move[n]).detach().requires_grad_() for n in start
                }
        return total
    value = torch.zeros((), dtype=torch.float64)
    for task in range(TASKS):
        s, q = [part[task] for part in support], [part[task] for part in query]
        if config.algorithm == "joint":
            value = value + objective(
                {n: leaves[f"param.{n}"] for n in names}, [torch.cat(p) for p in zip(s, q, strict=True)]
            )
            continue
        trajectory = adapted(leaves, s, not config.first_order)
        if config.algorithm == "maml++" and step < config.multi_step:
            share = step / config.multi_step
            weights = [
                (1 - share) / config.inner_steps + (share if k == config.inner_steps - 1 else 0)
                for k in range(config.inner_steps)
            ]
            for weight, params in zip(weights, trajectory, strict=True):
                value = value + weight * objective(params, q)
        else:
            value = value + objective(trajectory[-1], q)
    gradients = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-8, atol=1e-10, msg=f"{name}: {{}}".format
        )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(
    ("model_name", "loss_name"),
    [("mlp", "mse"), ("conv1d", "cross_entropy"), ("conv1d batch", "huber"), ("scaled", "mae")],
)
def test_agrees_with_the_slow_loop(config: LearnerConfig, model_name: str, loss_name: str) -> None:
    model, support, query = scene(model_name, loss_name)
    learner = build_learner(config, model, LOSSES[loss_name])
    meta = learner.init(parameters_of(model))
    for step in (3, 10):
        gradient, metrics = learner.meta_gradient(meta, support, query, step)
        assert_equal(gradient, slow_meta_gradient(learner, model, meta, support, query, step))
        assert metrics["tasks"] == TASKS


@pytest.mark.parametrize("model_name", ["conv4", "gru"])
def test_second_order_agrees_on_every_model(model_name: str) -> None:
    model, support, query = scene(model_name, "cross_entropy")
    learner = build_learner(CONFIGS["maml"], model, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(model))
    gradient, _ = learner.meta_gradient(meta, support, query, 0)
    assert_equal(gradient, slow_meta_gradient(learner, model, meta, support, query, 0))


def test_after_its_weighted_steps_maml_plus_plus_learns_from_the_last_step_alone() -> None:
    model, support, query = scene("mlp")
    learner = build_learner(CONFIGS["maml++"], model, LOSSES["mse"])
    meta = learner.init(parameters_of(model))
    at, after = (learner.meta_gradient(meta, support, query, step)[0] for step in (10, 25))
    assert_equal(after, at)
