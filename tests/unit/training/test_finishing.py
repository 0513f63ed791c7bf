"""What is chosen after training: forgetting, intervals and temperature, on devices that judge nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.tasks import Episodes
from acclimate.tasks.episodes import Indices
from acclimate.training.calibration import WIDTHS, Calibration, Fit, Unseen, calibrated, calibration
from acclimate.training.finishing import GAMMAS, LEVELS, Fold, finished, ready
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe
from acclimate.workflow import chosen_initialization
from acclimate.workflow.judging import as_shipped

DEVICES, ROWS = 10, 240


def problem_of(
    tmp_path: Path, drift: float, kind: str = "regression", level: float = 0.0, shots: int = 20
) -> Problem:
    """Devices whose own gains wander by `drift` a row: y = gains of two inputs, and noise.

    With a `level`, they have no gains, and differ in their level by so much.
    """
    rng = np.random.default_rng(0)
    columns: dict[str, list[object]] = {name: [] for name in ("device", "t", "a", "b", "y", "label")}
    for device in range(DEVICES):
        own = rng.normal(size=2)
        gains, base = (np.zeros(2), level * own[0]) if level else (own, 0.0)
        for row in range(ROWS):
            gains = gains + drift * rng.normal(size=2)
            x = rng.normal(size=2)
            y = float(base + x @ gains + 0.1 * rng.normal())
            values = (f"d{device}", float(row), *map(float, x), y, "up" if y > 0 else "down")
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    path = tmp_path / "fleet.parquet"
    pq.write_table(pa.table(columns), path)
    what = {"targets": ["y"]} if kind == "regression" else {"label": "label"}
    declared = {"kind": kind, "task": "device", "time": "t", "channels": ["a", "b"], "window": 1, **what}
    return open_problem(
        Recipe.model_validate(
            {
                "name": "fleet",
                "data": {"source": str(path), "recordings": declared, "test": 3, "validation": 3},
                "episodes": {"shots": shots, "query_shots": 20},
                "model": {"name": "mlp", "options": {"hidden": [8], "activation": "tanh"}},
                "learner": {"algorithm": "closed-form"},
            }
        )
    )


def chosen(problem: Problem) -> dict[str, torch.Tensor]:
    return finished(problem, problem.warm_start(problem.start()))


def test_a_device_that_wanders_forgets_and_one_that_stays_does_not(tmp_path: Path) -> None:
    still, wandering = (chosen(problem_of(tmp_path, drift))["prior.last.forgetting"] for drift in (0.0, 0.2))
    assert float(still) == GAMMAS[0] == 1.0
    assert float(wandering) < 0.999


def test_intervals_cover_what_they_say_on_devices_nobody_looked_at(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    meta, learner = chosen(problem), problem.learner()
    assert isinstance(learner, ClosedFormLearner)
    episode = problem.sampler(problem.split.test).every_task(0)
    after = learner.adapt(meta, episode.support)[1]
    variance = learner.heads.variance(under(after, "state."), learner.features(after, episode.query.x))
    errors = (learner.predict(after, episode.query.x) - episode.query.y).abs() / variance.sqrt()
    for column, level in enumerate(LEVELS[:3]):
        reach = meta["prior.noise"] * meta["prior.interval"][:, column]
        assert float((errors <= reach).float().mean()) == pytest.approx(level, abs=0.2)


def test_classes_get_a_temperature_and_heads_their_rates(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    meta = chosen(problem)
    assert 0.5 <= float(meta["prior.temperature"]) <= 4.0
    assert {float(meta[f"prior.{head}.forgetting"]) for head in ("last", "means")} <= {
        float(torch.tensor(gamma)) for gamma in GAMMAS
    }
    again = problem.initialization(meta)
    assert set(again.prior) == set(under(meta, "prior."))


def test_a_head_that_is_far_too_sure_of_itself_does_not_speak_for_the_other(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    learner, sure = problem.learner(), problem.warm_start(problem.start())
    assert isinstance(learner, ClosedFormLearner)
    sure["prior.means.scale"] = sure["prior.means.scale"] + 4.0  # as if 55 times as certain
    episode = problem.sampler(problem.split.validation).every_task(0)
    counts = episode.query.w > 0

    def losses(meta: MetaParams) -> dict[str, float]:
        after = learner.adapt(meta, episode.support)[1]
        prior, features = under(meta, "prior."), learner.features(after, episode.query.x)
        answers = learner.heads.answers(prior, under(after, "state."), features)
        mixed = learner.heads.mixed(prior, under(after, "state."), features)
        labels = episode.query.y[counts]
        return {
            name: float(torch.nn.functional.cross_entropy(answer[counts], labels))
            for name, answer in (*answers.items(), ("both", mixed))
        }

    before, after = losses(sure), losses(calibrated(learner, sure, [episode], (1.0,)))
    assert after["both"] <= before["both"] + 1e-6
    assert after["means"] < 0.5 * before["means"]
    # By hand: logits divided by a temperature are the log probabilities divided by it, normalized again.
    state = under(learner.adapt(sure, episode.support)[1], "state.")
    prior, features = under(sure, "prior."), learner.features(sure, episode.query.x)
    told = learner.heads.answers(prior, state, features)
    for name in learner.heads.names:
        cooler = learner.heads.tempered(prior, name, 3.0)
        answer = learner.heads.answers({**prior, **cooler}, state, features)[name]
        torch.testing.assert_close(answer, (told[name] / 3.0).log_softmax(-1), rtol=1e-4, atol=1e-5)


def test_a_prior_too_wide_for_devices_to_come_is_narrowed(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    learner, meta = problem.learner(), problem.warm_start(problem.start())
    assert isinstance(learner, ClosedFormLearner)
    wide = meta | {
        f"prior.{name}": one
        for name, one in learner.heads.widened(under(meta, "prior."), "last", 30.0).items()
    }
    before, after = (learner.start(each)["last.cov"] for each in (meta, wide))
    torch.testing.assert_close(after, 30.0 * before, rtol=1e-4, atol=1e-6)
    episodes = [problem.sampler(problem.split.validation).every_task(draw) for draw in range(3)]

    def loss(of: MetaParams) -> float:
        told = [learner.predict(learner.adapt(of, one.support)[1], one.query.x) for one in episodes]
        return float(sum(((y - one.query.y) ** 2).mean() for y, one in zip(told, episodes, strict=True)))

    for begin in (meta, wide):
        assert loss(calibrated(learner, begin, episodes)) <= loss(begin) + 1e-6


def test_devices_that_differ_in_their_level_alone_move_that_alone(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, level=3.0, shots=3)
    learner, start = problem.learner(), problem.start()
    assert isinstance(learner, ClosedFormLearner)
    meta = {name: torch.zeros_like(one) if "head" in name else one for name, one in start.items()}
    fit = calibration(learner, [Unseen(meta, draws(problem, problem.split.validation))]).heads["last"]
    assert fit.level > 1
    judging = draws(problem, problem.split.test)

    def loss(fit: Fit) -> float:
        of = fit.within(learner, meta, "last")
        told = [learner.predict(learner.adapt(of, one.support)[1], one.query.x) for one in judging]
        return float(sum((y - one.query.y).abs().mean() for y, one in zip(told, judging, strict=True)))

    assert loss(fit) < 0.95 * min(loss(Fit(width)) for width in WIDTHS)


def draws(problem: Problem, tasks: Indices) -> list[Episodes]:
    sampler = problem.sampler(tasks)
    return [sampler.every_task(draw) for draw in range(3)]


def without_validation(problem: Problem) -> Problem:
    data = problem.recipe.data.model_copy(update={"validation": 0})
    return problem.again(problem.recipe.model_copy(update={"data": data}))


def test_what_is_judged_is_what_devices_get(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    metas = {"meta-0": problem.warm_start(problem.start())}
    judged, shipped = as_shipped(problem, metas)["meta-0"], chosen_initialization(problem, metas).prior
    assert not torch.equal(judged["prior.means.factor"], metas["meta-0"]["prior.means.factor"])
    for name, tensor in under(judged, "prior.").items():
        torch.testing.assert_close(tensor, shipped[name], rtol=0, atol=0)


def test_where_no_device_is_aside_those_of_folds_tell_the_width(tmp_path: Path) -> None:
    aside = problem_of(tmp_path, 0.0)
    spared, learner = without_validation(aside), aside.learner()
    assert isinstance(learner, ClosedFormLearner)
    meta = aside.warm_start(aside.start())
    prior = under(meta, "prior.")
    wide = meta | {f"prior.{name}": one for name, one in learner.heads.widened(prior, "last", 1e3).items()}
    assert not len(spared.split.validation)
    kept, told = ready(spared, wide), ready(spared, wide, [Fold(aside, wide)])
    torch.testing.assert_close(
        kept["prior.last.factor"], wide["prior.last.factor"]
    )  # training devices tell none
    torch.testing.assert_close(told["prior.last.factor"], ready(aside, wide)["prior.last.factor"])
    assert float(told["prior.last.factor"][0, 0]) < float(kept["prior.last.factor"][0, 0])


def test_heads_are_fitted_for_what_they_say_together(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    learner, meta = problem.learner(), problem.warm_start(problem.start())
    assert isinstance(learner, ClosedFormLearner)
    episodes = [problem.sampler(problem.split.validation, shots).every_task() for shots in (1, 5, 20)]

    def loss(of: MetaParams) -> float:
        told = [learner.predict(learner.adapt(of, one.support)[1], one.query.x) for one in episodes]
        pairs = [
            (each[one.query.w > 0], one.query.y[one.query.w > 0])
            for each, one in zip(told, episodes, strict=True)
        ]
        return float(
            torch.nn.functional.cross_entropy(*(torch.cat(each) for each in zip(*pairs, strict=True)))
        )

    together, alone = calibrated(learner, meta, episodes), meta
    for name in learner.heads.names:  # each head by itself, then their average's temperature
        one = replace(learner, heads=replace(learner.heads, names=(name,)))
        fit = calibration(one, [Unseen(meta, episodes)]).heads
        alone = Calibration(fit).of(learner, alone)
    assert loss(together) <= min(loss(alone), loss(meta)) + 0.01  # of more than the loss alone


def test_other_learners_are_left_as_they_are(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    plain = problem.again(
        problem.recipe.model_copy(
            update={"learner": problem.recipe.learner.model_copy(update={"algorithm": "maml"})}
        )
    )
    meta = plain.start()
    assert finished(plain, meta) is meta
