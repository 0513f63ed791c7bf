"""A campaign on recordings: what devices send adds up to what central training knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from acclimate.errors import RecipeError
from acclimate.learners import ClosedFormLearner, inner_step, last_layer, under
from acclimate.training.executor import InProcess
from acclimate.training.federated.gradients import gradient_round
from acclimate.training.federated.moments import centred, device_moments, statistics_round, with_prior
from acclimate.training.federated.round import combined, epsilon_of, most_rounds
from acclimate.training.loop import OuterState, StepReport, train
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.sections import FederatedSection
from acclimate.workflow.rehearsal import rehearse
from acclimate_device.federated import unpacked
from tests.support.first_order import first_order

DEVICES, ROWS = 12, 120
CLOSED = {"algorithm": "closed-form", "heads": "last-layer"}
FIRST_ORDER = {"algorithm": "maml", "first_order": True, "inner_steps": 3, "inner_lr": 0.1, "compile": "off"}


def recipe_of(folder: Path, learner: dict[str, Any], **federated: Any) -> Recipe:
    """Devices whose classes lie along directions that differ a little between them."""
    path = folder / "fleet.parquet"
    if not path.exists():
        rng = np.random.default_rng(0)
        columns: dict[str, list[object]] = {name: [] for name in ("device", "t", "a", "b", "c", "label")}
        for device in range(DEVICES):
            turn = np.eye(3) + 0.2 * rng.normal(size=(3, 3))
            for row in range(ROWS):
                label = int(rng.integers(3))
                x = turn[label] * 2 + rng.normal(size=3)
                values = (f"d{device}", float(row), *map(float, x), "xyz"[label])
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
        pq.write_table(pa.table(columns), path)
    declared = {
        "kind": "classification",
        "task": "device",
        "time": "t",
        "channels": ["a", "b", "c"],
        "window": 1,
        "label": "label",
    }
    closed = learner["algorithm"] == "closed-form"
    return Recipe.model_validate(
        {
            "name": "fleet",
            "data": {"source": str(path), "recordings": declared, "test": 2, "validation": 3},
            "episodes": {"shots": 5, "query_shots": 5},
            "model": {"name": "random", "options": {"width": 6}} if closed else {"name": "mlp"},
            "learner": learner,
            "training": {"steps": 6, "meta_batch": 4, "shard": 2, "workers": 0, "checkpoint_every": 100},
            "federated": federated,
        }
    )


def closed(folder: Path, **federated: Any) -> tuple[Problem, ClosedFormLearner]:
    problem = open_problem(recipe_of(folder, CLOSED, **federated))
    learner = problem.learner()
    assert isinstance(learner, ClosedFormLearner)
    return problem, learner


def test_the_sum_of_devices_is_what_all_examples_together_say(tmp_path: Path) -> None:
    problem, learner = closed(tmp_path, aggregator="mean")
    meta, section = problem.start(), problem.recipe.federated
    assert section is not None
    vectors = device_moments(problem, meta)
    forward = combined(section, vectors, 0, 0).result
    backward = combined(section, vectors[::-1], 0, 0).result
    np.testing.assert_array_equal(forward, backward)  # integers: to the bit in any order

    x, y, w = problem.training_examples()
    phi = last_layer.extended(learner.features(meta, x)).double()
    targets = centred(learner, y, phi)
    share = (w / w.sum(1, keepdim=True) / len(w)).double().unsqueeze(-1)
    gram, products = unpacked(forward, phi.shape[-1], 3)
    flat, flat_share = phi.flatten(0, 1), share.flatten(0, 1)
    torch.testing.assert_close(torch.from_numpy(gram), (flat * flat_share).T @ flat, rtol=0, atol=1e-7)
    central = (flat * flat_share).T @ targets.flatten(0, 1)
    torch.testing.assert_close(torch.from_numpy(products), central, rtol=0, atol=1e-7)


def test_a_device_solves_ridge_regression_with_the_fleet_as_further_examples(tmp_path: Path) -> None:
    problem, learner = closed(tmp_path)
    section, start = problem.recipe.federated, problem.start()
    assert section is not None
    vector = combined(section, device_moments(problem, start), 0, 0).result
    meta = with_prior(learner, start, vector, tau=10.0, ridge=0.03)
    episode = problem.sampler(problem.split.test, 5).every_task()
    after = learner.adapt(meta, episode.support)[1]

    features = last_layer.extended(learner.features(start, episode.support.x)).double()[0]
    targets = centred(learner, episode.support.y[0], features)
    gram, products = (torch.from_numpy(part) for part in unpacked(vector, features.shape[-1], 3))
    known = 10 * gram + 0.03 * torch.eye(len(gram)) + features.T @ features
    expected = torch.linalg.solve(known, 10 * products + features.T @ targets)
    torch.testing.assert_close(after["state.last.mean"][0].double(), expected, rtol=1e-3, atol=1e-3)


def test_the_round_is_the_training(tmp_path: Path) -> None:
    problem, _ = closed(tmp_path)
    state = OuterState.begin(problem.start(), problem.recipe.training.optimizer)
    before = {name: tensor.clone() for name, tensor in state.meta.items()}
    told: list[StepReport] = []
    assert statistics_round(problem, state, told.append, lambda state: None)
    assert state.is_done(problem.recipe.training)
    assert told[0].figures["accuracy"] > 0.6
    moved = {name for name in before if not torch.equal(before[name], state.meta[name])}
    assert moved == {"param.head.weight", "param.head.bias", "prior.last.factor"}


def trained(folder: Path, **section: Any) -> dict[str, torch.Tensor]:
    recipe = recipe_of(folder, FIRST_ORDER, **section)
    problem = open_problem(recipe)
    state = OuterState.begin(problem.start(), recipe.training.optimizer)
    workers = InProcess({"meta": recipe}, problem)

    def compute(meta: Any, step: int, shards: Any) -> Any:
        def central(meta: Any, step: int, shards: Any) -> Any:
            return workers.compute("meta", meta, step, shards)

        return gradient_round(problem, central, meta, step, shards)

    train(
        recipe,
        state,
        compute,
        on_step=lambda _: None,
        on_checkpoint=lambda _: None,
        should_stop=lambda: False,
    )
    return state.meta


def test_a_step_of_gradients_is_the_central_one(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, FIRST_ORDER, aggregator="mean")
    problem = open_problem(recipe)
    workers, meta = InProcess({"meta": recipe}, problem), problem.start()

    def compute(meta: Any, step: int, shards: Any) -> Any:
        return workers.compute("meta", meta, step, shards)

    central = compute(meta, 0, [[0, 1], [2, 3]])
    whole = {name: central[0].gradient[name] + central[1].gradient[name] for name in meta}
    (federated,) = gradient_round(problem, compute, meta, 0, [[0, 1], [2, 3]])
    length = float(torch.cat([part.reshape(-1) for part in whole.values()]).norm())
    off = torch.cat([(federated.gradient[name] - whole[name]).reshape(-1) for name in meta])
    assert float(off.norm()) < 1e-5 * length
    assert federated.figures["tasks"] == 4
    assert federated.figures["loss"] == pytest.approx(sum(each.figures["loss"] for each in central), rel=1e-6)


def test_what_a_device_computes_is_the_learners_meta_gradient(tmp_path: Path) -> None:
    problem = open_problem(recipe_of(tmp_path, FIRST_ORDER))
    learner, meta = problem.learner(), problem.start()
    episode = problem.training_sampler().episodes(0, [0])
    gradient, _ = learner.meta_gradient(meta, tuple(episode.support), tuple(episode.query), 0)
    inner, start = learner.inner, under(meta, "param.")  # type: ignore[attr-defined]

    def step(params: Any, batch: Any, number: int) -> Any:
        stacked = {name: torch.as_tensor(value)[None] for name, value in params.items()}
        moved, _ = inner_step(
            inner.forward, inner.loss.per_example, stacked, dict.fromkeys(stacked, 0.1), tuple(batch)
        )
        return {name: value.detach()[0].numpy() for name, value in moved.items()}

    update = first_order(
        step,
        {name: tensor.numpy() for name, tensor in start.items()},
        episode.support,
        episode.query,
        steps=3,
        rate=0.1,
    )
    for name, part in update.items():
        np.testing.assert_allclose(part, gradient[f"param.{name}"].numpy(), rtol=1e-3, atol=2e-5)


def test_liars_are_rehearsed_and_the_default_holds_them(tmp_path: Path) -> None:
    honest = trained(tmp_path, aggregator="mean")
    moved = {
        aggregator: trained(tmp_path, aggregator=aggregator, attack="sign-flip", attackers=0.3)
        for aggregator in ("mean", "clipped-mean")
    }
    off = {
        name: sum(float((meta[each] - honest[each]).norm()) for each in honest)
        for name, meta in moved.items()
    }
    assert off["clipped-mean"] < off["mean"]
    flipped = trained(tmp_path, aggregator="mean", attack="label-flip", attackers=0.3)
    assert any(not torch.equal(flipped[name], honest[name]) for name in honest)


def test_what_a_campaign_spends(tmp_path: Path) -> None:
    private = {"aggregator": "mean", "clip": 1.0, "noise": 2.0}
    problem = open_problem(recipe_of(tmp_path, FIRST_ORDER, **private))
    rounds = most_rounds(problem)
    assert 6 * 4 / 7 <= rounds <= 6
    assert epsilon_of(problem.recipe, rounds) < epsilon_of(problem.recipe, 6) or rounds == 6
    told = rehearse(recipe_of(tmp_path, CLOSED), fleets=(7, 100_000), epsilons=(3.0,))
    assert told.bytes_a_round == 4 * (11 * 12 // 2 + 11 * 3)
    assert told.bytes_of_masks == 0
    hidden = rehearse(recipe_of(tmp_path, CLOSED, secure=True, aggregator="mean"), (7,), (3.0,))
    assert hidden.bytes_of_masks == 422 + 7 * 298
    assert told.as_json()["epsilon"] is None
    assert told.rows[1].expected >= told.rows[0].expected - 0.05
    assert told.rows[0].noise == told.rows[1].noise


@pytest.mark.parametrize(
    ("learner", "federated", "wrong"),
    [
        ({"algorithm": "closed-form"}, {}, "last-layer"),
        ({"algorithm": "joint"}, {}, "no round"),
        ({"algorithm": "reptile", "serial": True}, {}, "serial"),
        (CLOSED, {"noise": 1.0}, "protects nobody"),
        (CLOSED, {"noise": 1.0, "clip": 1.0}, "protects nobody"),
        (CLOSED, {"secure": True}, "has to see"),
    ],
)
def test_a_recipe_that_cannot_be_federated_is_refused(
    tmp_path: Path, learner: dict[str, Any], federated: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValidationError, match=wrong):
        recipe_of(tmp_path, learner, **federated)


def test_other_recipes_keep_their_hash(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, FIRST_ORDER)
    assert "federated" in recipe.determines()
    assert "federated" not in recipe.model_copy(update={"federated": None}).determines()
    assert recipe.federated == FederatedSection()


def test_sums_that_hide_each_device_are_the_same_to_the_bit() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 50)) / 8
    for gone in (0.0, 0.3):
        plain = FederatedSection(aggregator="mean", clip=1.0, dropouts=gone)
        hidden = plain.model_copy(update={"secure": True})
        expected, found = combined(plain, vectors, 0, 3), combined(hidden, vectors, 0, 3)
        np.testing.assert_array_equal(found.result, expected.result)
        np.testing.assert_array_equal(found.norms, expected.norms)
        assert len(found.norms) == round(20 * (1 - gone))
    with pytest.raises(RecipeError, match="leaves 10 of 20 devices, of which 14 have to stay"):
        combined(hidden.model_copy(update={"dropouts": 0.5}), vectors, 0, 0)
    with pytest.raises(RecipeError, match="hides nobody among 2"):
        combined(hidden, vectors[:2], 0, 0)
    noised = combined(hidden.model_copy(update={"noise": 4.0}), np.zeros((20, 400)), 0, 0)
    assert 0.75 < float(np.std(noised.result)) / (4.0 / 14) < 1.25  # fourteen stay, with all of it
