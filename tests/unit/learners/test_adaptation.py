"""What a device gets from a learner: trajectories, subsets, padding, learned rates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from acclimate.errors import ModelError, RecipeError
from acclimate.initialization import ModelSpec
from acclimate.learners import LOSSES, LearnerConfig, build_learner, inner_step, loss_for, under
from acclimate.learners.trainable import trainable_names
from acclimate.models import build, parameters_of

SPEC = ModelSpec("conv1d", (2, 8), 3, {"filters": 4, "blocks": 2})
Batch = tuple[Tensor, Tensor, Tensor]


def support(tasks: int = 3, examples: int = 6) -> Batch:
    torch.manual_seed(3)
    return (
        torch.randn(tasks, examples, 2, 8),
        torch.randint(0, 3, (tasks, examples)),
        torch.ones(tasks, examples),
    )


def test_trajectory_is_sgd_on_each_task() -> None:
    model = build(SPEC).double()  # so that only a wrong step differs, no rounding
    learner = build_learner(LearnerConfig("maml", 0.3, 2), model, LOSSES["cross_entropy"])
    x, y, w = (part.double() if part.is_floating_point() else part for part in support())
    trajectory = learner.adapt(learner.init(parameters_of(model)), (x, y, w), 4)
    assert len(trajectory) == 5
    for task in range(3):
        optimizer = torch.optim.SGD((copy := build(SPEC).double()).parameters(), lr=0.3)
        copy.load_state_dict(model.state_dict())
        for params in trajectory:
            for name, parameter in copy.named_parameters():
                torch.testing.assert_close(params[name][task], parameter.detach(), rtol=1e-4, atol=1e-5)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(copy(x[task]), y[task]).backward()
            optimizer.step()
    outputs = learner.predict(trajectory[-1], x)
    alone = functional_call(model, {n: t[1] for n, t in trajectory[-1].items()}, (x[1],))
    torch.testing.assert_close(outputs[1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("trainable", "moving"),
    [
        ("head", {"head.weight", "head.bias"}),
        ("biases", {"body.0.norm.bias", "body.1.norm.bias", "head.bias"}),
        (("head.bias", "body.0.conv.weight"), {"body.0.conv.weight", "head.bias"}),
    ],
)
def test_only_the_declared_subset_moves(trainable: str | tuple[str, ...], moving: set[str]) -> None:
    model = build(SPEC)
    learner = build_learner(LearnerConfig("maml", 0.3, 1, trainable), model, LOSSES["cross_entropy"])
    start = parameters_of(model)
    after = learner.adapt(learner.init(start), support(), 2)[-1]
    assert set(learner.trainable) == moving
    assert {name for name in after if after[name].dim() > start[name].dim()} == moving
    assert all(torch.equal(after[name], start[name]) for name in start.keys() - moving)
    assert all(not torch.equal(after[name][0], start[name]) for name in moving)


def test_without_a_module_called_head_the_last_one_with_parameters_is_it() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(4)), torch.nn.ReLU())
    assert trainable_names(model, "head") == ("3.weight", "3.bias")


def test_padding_does_not_count() -> None:
    model = build(SPEC)
    learner = build_learner(LearnerConfig("maml", 0.3, 2), model, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(model))
    x, y, w = support()
    padded = (torch.cat([x, 99 * x], 1), torch.cat([y, y], 1), torch.cat([w, 0 * w], 1))
    short, _ = learner.meta_gradient(meta, (x, y, w), (x, y, w), 0)
    long, _ = learner.meta_gradient(meta, padded, padded, 0)
    for name in short:
        torch.testing.assert_close(short[name], long[name], rtol=1e-4, atol=1e-5)


def test_a_task_without_support_keeps_the_start() -> None:
    model = build(SPEC)
    learner = build_learner(LearnerConfig("maml", 0.3, 2), model, LOSSES["cross_entropy"])
    x, y, w = support()
    after = learner.adapt(
        learner.init(parameters_of(model)), (x, y, w * torch.tensor([[1.0], [0.0], [1.0]])), 1
    )[-1]
    for name, tensor in parameters_of(model).items():
        assert torch.equal(after[name][1], tensor)


def test_learned_rates_are_used_and_the_last_one_goes_on() -> None:
    model = build(SPEC)
    learner = build_learner(LearnerConfig("maml++", 0.1, 2), model, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(model))
    assert {rate.shape[0] for rate in under(meta, "rate.").values()} == {2}
    stuck = {name: t * 0 if name.startswith("rate.") else t for name, t in meta.items()}
    for name in stuck:
        if name.startswith("rate."):
            stuck[name][1] = 0.5
    start, first, second, third = learner.adapt(stuck, support(), 3)
    assert all(torch.equal(start[name], first[name]) for name in start)
    assert not torch.equal(first["head.bias"], second["head.bias"])
    assert not torch.equal(second["head.bias"], third["head.bias"])


def test_inner_step_serves_one_task_on_the_plain_model() -> None:
    """The form that is exported to devices agrees with the stacked one."""
    model = build(SPEC)
    learner = build_learner(LearnerConfig("maml", 0.3, 1), model, LOSSES["cross_entropy"])
    x, y, w = support()
    params = parameters_of(model)
    expected = learner.adapt(learner.init(params), (x, y, w), 1)[-1]
    rates = dict.fromkeys(learner.trainable, 0.3)
    after, loss = inner_step(
        lambda p, inputs: functional_call(model, dict(p), (inputs,)),
        LOSSES["cross_entropy"],
        params,
        rates,
        (x[2], y[2], w[2]),
    )
    assert loss.shape == ()
    for name in params:
        torch.testing.assert_close(after[name], expected[name][2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "mamml"}, "use one of closed-form"),
        ({"inner_lr": 0.0}, "inner_lr is 0.0"),
        ({"inner_lr": float("nan")}, "inner_lr is nan"),
        ({"inner_steps": 0}, "at least 1"),
        ({"serial": True}, "serial belongs to reptile"),
        ({"algorithm": "anil", "trainable": "biases"}, "anil adapts the head"),
        ({"serial_rate": 2.0}, "serial_rate is 2.0"),
        ({"multi_step": -1}, "multi_step is -1"),
        ({"compile": "maybe"}, "auto, on, off"),
    ],
)
def test_a_wrong_configuration_names_key_and_remedy(options: dict, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        LearnerConfig(**options)


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (("head.weigth",), "did you mean 'head.weight'"),
        ("heads", "did you mean 'head'"),
        ((), "is an empty list"),
    ],
)
def test_an_unknown_subset_is_refused(trainable: str | tuple[str, ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_learner(LearnerConfig(trainable=trainable), build(SPEC), LOSSES["cross_entropy"])


def test_a_loss_that_does_not_fit_the_tasks_is_refused() -> None:
    assert loss_for("classification").name == "cross_entropy"
    assert loss_for("forecasting", "huber").name == "huber"
    with pytest.raises(RecipeError, match="use mse or mae or huber"):
        loss_for("regression", "cross_entropy")
