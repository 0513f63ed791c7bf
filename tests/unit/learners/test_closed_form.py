"""Closed-form heads against the textbook's batch posterior, a hand-computed case and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acclimate.errors import ModelError, RecipeError
from acclimate.initialization import ModelSpec
from acclimate.learners import (
    LOSSES,
    ClosedFormLearner,
    LearnerConfig,
    build_learner,
    check_head,
    class_means,
    in_units,
    last_layer,
    under,
)
from acclimate.learners.statistics import last_layer_prior
from acclimate.models import build, parameters_of

TASKS, WIDTH, CLASSES = 3, 4, 3
BODIES = {
    "mlp": ModelSpec("mlp", (3,), CLASSES, {"hidden": [WIDTH]}),
    "conv1d": ModelSpec("conv1d", (2, 8), CLASSES, {"filters": WIDTH, "blocks": 2, "kernel": 3}),
    "blocks": ModelSpec("conv1d", (2, 8), CLASSES, {"filters": 4, "blocks": 2, "readout": "blocks"}),
    "conv4": ModelSpec("conv4", (1, 6, 6), CLASSES, {"filters": 3, "blocks": 2}),
    "gru": ModelSpec("gru", (2, 4), CLASSES, {"hidden": WIDTH}),
}


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def learner_of(body: str, **config: object) -> ClosedFormLearner:
    loss = LOSSES[str(config.pop("loss", "cross_entropy"))]
    made = build_learner(LearnerConfig("closed-form", **config), build(BODIES[body]).double(), loss)
    assert isinstance(made, ClosedFormLearner)
    return made


def scene(learner: ClosedFormLearner, body: str, shots: int = 4) -> tuple[dict[str, Tensor], tuple, tuple]:
    """Meta-parameters away from their first values, support and query of unequal classes, one padded."""
    meta = learner.init(parameters_of(learner.model))
    meta = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in meta.items()}
    halves = []
    for examples in (shots, 5):
        x = wide(TASKS, examples, *BODIES[body].input_shape)
        y = (
            torch.randint(0, CLASSES, (TASKS, examples))
            if learner.heads.classes
            else wide(TASKS, examples, 3)
        )
        w = torch.ones(TASKS, examples, dtype=torch.float64)
        w[0, -1:] = 0.0
        halves.append((x, y, w))
    return meta, halves[0], halves[1]


def test_the_last_layer_is_the_batch_posterior() -> None:
    mean, root = wide(WIDTH, 2), wide(WIDTH, WIDTH)
    prior = root @ root.T + torch.eye(WIDTH, dtype=torch.float64)
    phi, y, w = wide(TASKS, 6, WIDTH), wide(TASKS, 6, 2), torch.rand(TASKS, 6, dtype=torch.float64)
    found, cov = last_layer.posterior(mean, prior, phi, y, w)
    for task in range(TASKS):
        weighted = phi[task].T * w[task]
        precision = torch.linalg.inv(prior) + weighted @ phi[task]
        expected = torch.linalg.solve(precision, torch.linalg.solve(prior, mean) + weighted @ y[task])
        torch.testing.assert_close(cov[task], torch.linalg.inv(precision))
        torch.testing.assert_close(found[task], expected)


def test_the_last_layer_by_hand() -> None:
    """One constant feature, prior N(0, 1), unit noise: after n labels of 1 the mean is n / (n + 1)."""
    one = torch.ones(1, 1, dtype=torch.float64)
    state = mean0, cov0 = torch.zeros_like(one), one
    for labels in (1, 2, 3):
        state = last_layer.update(*state, (0 * mean0, 0 * cov0), one, one, torch.tensor(1.0))
        assert float(state[0]) == pytest.approx(labels / (labels + 1))
        assert float(state[1]) == pytest.approx(1 / (labels + 1))


def test_class_means_by_hand() -> None:
    """A label of one class moves the mean of the class that goes with it by half as much."""
    mean0 = torch.zeros(2, 1, dtype=torch.float64)
    cov0 = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    z, first = torch.full((1, 1), 2.0, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    mean, cov = class_means.update(mean0, cov0, (0 * mean0, 0 * cov0), z, first, torch.tensor(1.0))
    assert mean.flatten().tolist() == pytest.approx([1.0, 0.5])
    assert cov.flatten().tolist() == pytest.approx([0.5, 0.25, 0.25, 0.875])


def test_class_means_are_the_posterior_of_a_joint_gaussian() -> None:
    """The textbook: condition the joint law of means and observations on the observations."""
    root = wide(CLASSES, CLASSES)
    prior = root @ root.T + torch.eye(CLASSES, dtype=torch.float64)
    mean, z = wide(CLASSES, 2), wide(2, 5, 2)
    one_hot = nn.functional.one_hot(torch.tensor([[0, 0, 2, 0, 2], [1, 2, 1, 0, 1]]), CLASSES).double()
    found, cov = class_means.posterior(mean, prior, z, one_hot, torch.ones(2, 5, dtype=torch.float64))
    for task, design in enumerate(one_hot):
        noisy = design @ prior @ design.T + torch.eye(5, dtype=torch.float64)
        gain = prior @ design.T @ torch.linalg.inv(noisy)
        torch.testing.assert_close(found[task], mean + gain @ (z[task] - design @ mean))
        torch.testing.assert_close(cov[task], prior - gain @ design @ prior)


def test_a_class_is_as_likely_as_its_mean_is_near() -> None:
    mean, z, cov = wide(CLASSES, 2), wide(5, 2), torch.diag(torch.tensor([0.5, 1.0, 2.0]).double())
    scale, power, bias = wide(()), wide(()), wide(CLASSES)
    found = class_means.logits(mean, cov, z, scale, power, bias)
    for example in range(5):
        for label in range(CLASSES):
            variance = 1 + cov[label, label]
            apart = ((z[example] - mean[label]) ** 2).sum()
            expected = bias[label] - scale.exp() * apart / variance - power * variance.log()
            torch.testing.assert_close(found[example, label], expected)


def test_a_fleets_moments_count_like_examples_of_the_device() -> None:
    """With them as prior a device's head is ridge regression on both; what noise made negative is none."""
    root, products, phi, y = wide(4, 2), wide(4, 2), wide(1, 6, 4), wide(1, 6, 2)
    gram, tau, ridge = root @ root.T, 3.0, 0.5
    noisy = gram - 1e-12 * torch.eye(4, dtype=torch.float64)
    mean, factor = last_layer_prior(noisy, products, tau, ridge)
    found, _ = last_layer.posterior(mean, last_layer.covariance(factor), phi, y, torch.ones(1, 6).double())
    both = tau * gram + ridge * torch.eye(4, dtype=torch.float64) + phi[0].T @ phi[0]
    torch.testing.assert_close(found[0], torch.linalg.solve(both, tau * products + phi[0].T @ y[0]))
    worse = last_layer_prior(gram - 5 * torch.eye(4, dtype=torch.float64), products, tau, ridge)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in worse)


@pytest.mark.parametrize(("loss", "variance"), [("cross_entropy", 1 / 0.3), ("mae", 1.0)])
def test_a_prior_of_no_fleet_is_a_ridge(loss: str, variance: float) -> None:
    factor = learner_of("mlp", loss=loss).heads.prior(2)["last.factor"]
    torch.testing.assert_close(last_layer.covariance(factor), variance * torch.eye(3))


@pytest.mark.parametrize(("name", "covariance"), [("last", last_layer), ("means", class_means)])
def test_a_wider_prior_is_the_same_covariance_times_its_width(name: str, covariance: Any) -> None:
    heads = learner_of("mlp").heads
    size = WIDTH + 1 if name == "last" else CLASSES
    prior = {f"{name}.factor": wide(size, size)}
    wider = heads.widened(prior, name, 2.5)[f"{name}.factor"]
    narrow = covariance.covariance(prior[f"{name}.factor"])
    torch.testing.assert_close(covariance.covariance(wider), 2.5 * narrow, rtol=1e-4, atol=1e-4)


def test_a_wider_level_is_that_of_the_constant_feature_alone() -> None:
    size = WIDTH + 1
    prior = {"last.factor": wide(size, size)}
    narrow = last_layer.covariance(prior["last.factor"])
    wider = learner_of("mlp", loss="mae").heads.widened(prior, "last", 2.0, 10.0)["last.factor"]
    scale = torch.full((size,), 2.0**0.5, dtype=torch.float64)
    scale[-1] = 20.0**0.5
    torch.testing.assert_close(last_layer.covariance(wider), narrow * scale.outer(scale))


def test_a_prediction_is_as_uncertain_as_the_noise_and_what_is_unknown_of_the_mean() -> None:
    mean, cov = wide(WIDTH, 2), torch.diag(torch.tensor([4.0, 1.0, 0.0, 0.25], dtype=torch.float64))
    phi = torch.tensor([[0.0] * 4, [1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 9.0, 2.0]], dtype=torch.float64)
    answer, variance = last_layer.predict(mean, cov, phi)
    torch.testing.assert_close(answer, phi @ mean)
    assert variance.flatten().tolist() == [1.0, 5.0, 6.0]


@pytest.mark.parametrize("bias", [True, False])
def test_a_device_without_a_label_answers_as_the_fleets_last_layer(bias: bool) -> None:
    own = TailedNetwork(nn.Identity()).double()
    own.final = nn.Linear(4, CLASSES, bias=bias).double()
    learner = build_learner(LearnerConfig("closed-form"), own, LOSSES["cross_entropy"])
    assert isinstance(learner, ClosedFormLearner)
    fleet = learner.init(parameters_of(own)) | {"param.final.weight": wide(CLASSES, 4)}
    if bias:
        fleet["param.final.bias"] = wide(CLASSES)
    start = learner.start(fleet)["last.mean"]
    torch.testing.assert_close(start[:-1], fleet["param.final.weight"].T)
    torch.testing.assert_close(start[-1], fleet.get("param.final.bias", torch.zeros(3).double()))


def test_a_temperature_divides_a_heads_logits() -> None:
    learner = learner_of("mlp")
    meta, support, query = scene(learner, "mlp")
    prior, state = under(meta, "prior."), under(learner.adapt(meta, support)[1], "state.")
    features = learner.features(meta, query[0])
    for name in ("last", "means"):
        warm = prior | learner.heads.tempered(prior, name, 3.0)
        found, before = (learner.heads.answers(each, state, features)[name] for each in (warm, prior))
        torch.testing.assert_close(found, (before / 3.0).log_softmax(-1))


@pytest.mark.parametrize("unit", [None, 4.0])
def test_losses_are_counted_in_units(unit: float | None) -> None:
    outputs, targets = wide(2, 3, 1), wide(2, 3, 1)
    found = in_units(LOSSES["mae"], outputs, targets, None if unit is None else torch.tensor(unit))
    torch.testing.assert_close(found, (outputs - targets).abs()[..., 0] / (unit or 1.0))


@pytest.mark.parametrize("loss", ["cross_entropy", "mae"])
def test_label_by_label_is_the_batch(loss: str) -> None:
    learner = learner_of("mlp", loss=loss)
    meta, support, query = scene(learner, "mlp")
    support = (*support[:2], torch.ones_like(support[2]))
    batch = learner.adapt(meta, support)[1]
    prior = {name[6:]: tensor for name, tensor in meta.items() if name.startswith("prior.")}
    state = start = learner.start(meta)
    features, one = learner.features(meta, support[0]), torch.tensor(1.0)
    for label in range(support[0].shape[1]):
        at = slice(label, label + 1)
        gamma = {"last": one, "means": one}
        state = learner.heads.updated(prior, start, state, features[:, at], support[1][:, at], gamma)
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, batch[f"state.{name}"])
    assert learner.predict(batch, query[0]).shape == (TASKS, 5, CLASSES)


def test_what_is_forgotten_is_the_fleets_again() -> None:
    learner = learner_of("mlp")
    meta, support, _ = scene(learner, "mlp")
    start = learner.start(meta)
    state = {name[6:]: t for name, t in learner.adapt(meta, support)[1].items() if name.startswith("state.")}
    nothing = wide(TASKS, 1, CLASSES) * 0
    for head, update in (("last", last_layer.update), ("means", class_means.update)):
        mean, cov = state[f"{head}.mean"], state[f"{head}.cov"]
        width = mean.shape[-2] if head == "last" else CLASSES
        idle = torch.zeros(TASKS, 1, width, dtype=torch.float64)
        other = nothing if head == "last" else torch.zeros(TASKS, 1, mean.shape[-1], dtype=torch.float64)
        pair = (idle, other) if head == "last" else (other, idle)
        gamma = torch.tensor(0.9)
        pulled = last_layer.pull(start[f"{head}.mean"], start[f"{head}.cov"], gamma)
        for _ in range(400):
            mean, cov = update(mean, cov, pulled, *pair, gamma)
        torch.testing.assert_close(mean, start[f"{head}.mean"].expand_as(mean))
        torch.testing.assert_close(cov, start[f"{head}.cov"].expand_as(cov))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_meta_gradient_is_the_slope(body: str, loss: str) -> None:
    """Along random directions of all meta-parameters, against the difference of two objectives."""
    learner = learner_of(body, loss=loss, compile="off")
    meta, support, query = scene(learner, body)

    def objective(shift: float, along: dict[str, Tensor]) -> float:
        moved = {name: tensor + shift * along[name] for name, tensor in meta.items()}
        return float(learner.meta_gradient(moved, support, query, 0)[1]["loss"])

    gradient, figures = learner.meta_gradient(meta, support, query, 0)
    assert gradient.keys() == meta.keys()
    assert figures["tasks"] == TASKS
    for _ in range(3):
        along = {name: torch.randn_like(tensor) for name, tensor in meta.items()}
        slope = sum(float((gradient[name] * along[name]).sum()) for name in meta)
        step = 1e-6
        assert (objective(step, along) - objective(-step, along)) / (2 * step) == pytest.approx(
            slope, rel=1e-4
        )


def test_tasks_do_not_touch_each_other() -> None:
    learner = learner_of("conv1d")
    meta, support, query = scene(learner, "conv1d")
    together, _ = learner.meta_gradient(meta, support, query, 0)
    apart = [
        learner.meta_gradient(
            meta, tuple(p[t : t + 1] for p in support), tuple(p[t : t + 1] for p in query), 0
        )[0]
        for t in range(TASKS)
    ]
    for name, tensor in together.items():
        torch.testing.assert_close(tensor, sum(each[name] for each in apart))


@pytest.mark.parametrize("heads", ["last-layer", "class-means", "both"])
def test_no_label_is_the_start_and_a_missing_class_still_has_a_probability(heads: str) -> None:
    learner = learner_of("mlp", heads=heads)
    meta, (x, y, w), query = scene(learner, "mlp")
    start, unchanged = learner.adapt(meta, (x, y, torch.zeros_like(w)))
    torch.testing.assert_close(learner.predict(unchanged, query[0]), learner.predict(start, query[0]))
    one_class = learner.adapt(meta, (x, torch.zeros_like(y), w))[1]
    probabilities = learner.predict(one_class, query[0]).softmax(-1)
    assert bool((probabilities > 0).all())
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(TASKS, 5, dtype=torch.float64))


def test_a_weight_of_two_is_an_example_twice() -> None:
    learner = learner_of("mlp")
    meta, (x, y, _), query = scene(learner, "mlp", shots=3)
    weights = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64).expand(TASKS, 3)
    weighted = learner.adapt(meta, (x, y, weights))[1]
    twice = torch.tensor([0, 0, 1])
    repeated = learner.adapt(meta, (x[:, twice], y[:, twice], torch.ones_like(weights)))[1]
    torch.testing.assert_close(learner.predict(weighted, query[0]), learner.predict(repeated, query[0]))


def test_classes_without_a_meaning_keep_like_priors() -> None:
    """Relabelling an episode's classes relabels the answer, after any number of steps."""
    learner = learner_of("conv1d", exchangeable=True)
    assert learner.heads.names == ("last",)
    meta = learner.init(parameters_of(learner.model))
    _, support, query = scene(learner, "conv1d")
    for step in range(5):
        gradient, _ = learner.meta_gradient(meta, support, query, step)
        meta = {name: tensor - 0.05 * gradient[name] for name, tensor in meta.items()}
    turned = torch.tensor([1, 2, 0])
    before = learner.predict(learner.adapt(meta, support)[1], query[0])
    after = learner.predict(learner.adapt(meta, (support[0], turned[support[1]], support[2]))[1], query[0])
    torch.testing.assert_close(after[..., turned], before)


class TailedNetwork(nn.Module):
    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.trunk, self.final, self.tail = nn.Linear(3, 4), nn.Linear(4, CLASSES), tail

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.final(self.trunk(x).relu()))


def test_a_users_own_network_serves_if_its_last_layer_is_linear() -> None:
    own = TailedNetwork(nn.Identity()).double()
    check_head(own, (3,))
    learner = build_learner(LearnerConfig("closed-form"), own, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(own))
    x, y = wide(TASKS, 4, 3), torch.randint(0, CLASSES, (TASKS, 4))
    batch = (x, y, torch.ones(TASKS, 4, dtype=torch.float64))
    gradient, _ = learner.meta_gradient(meta, batch, batch, 0)
    assert float(gradient["param.trunk.weight"].abs().sum()) > 0


def test_a_network_that_ends_in_something_else_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="TailedNetwork are not 'final' of its features"):
        check_head(TailedNetwork(nn.Tanh()), (3,))
    with pytest.raises(ModelError, match=r"Sequential has none: end it with torch\.nn\.Linear"):
        check_head(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten()), (1, 3))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ModelError, match="class means need classes"):
        learner_of("mlp", loss="mse", heads="both")
    with pytest.raises(RecipeError, match=r"learner\.heads belongs to closed-form"):
        LearnerConfig("maml", heads="both")
