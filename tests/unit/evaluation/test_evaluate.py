"""The evaluation on sinusoids, whose tasks are generated: a start that knows the answer must win."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from acclimate.evaluation import (
    Evaluation,
    EvaluationProtocol,
    HeldOut,
    Trained,
    Trial,
    evaluate,
    headline,
    judge,
    table,
    worst_sentence,
)
from acclimate.evaluation.contenders import Descent, Setting, choose, measure
from acclimate.evaluation.plot import save_plot
from acclimate.tasks import Episodes, Sampler
from acclimate.training.problem import joint_recipe, open_problem
from acclimate.training.recipe import Recipe
from acclimate.workflow.candidates import recipe_of
from acclimate.workflow.judging import protocol_of

RECIPE = Recipe.model_validate(
    {"name": "waves", "data": {"source": "sinusoid", "options": {"tasks": 50}, "test": 6}}
)
PROTOCOL = EvaluationProtocol(
    shots=(5, 10),
    steps=(0, 1, 2),
    long_steps=4,
    draws=2,
    rates=(0.001, 0.01, 1e9),
    policy_shots=10,
    policy_steps=1,
)


@cache
def evaluation() -> Evaluation:
    problem = open_problem(RECIPE)
    plain = problem.again(joint_recipe(RECIPE))
    closed = problem.again(recipe_of(RECIPE, "joint_solved"))
    trained = Trained(
        seed=0,
        learner=problem.learner(),
        meta=problem.start(),
        plain=plain.learner(),
        untrained=plain.start(),
        joint=plain.start(),
        train=problem.sampler(problem.split.train),
        loss=problem.loss,
        normalization=problem.normalization,
        solved=(closed.learner(), closed.start()),
    )

    def test(shots: int) -> Sampler:
        return problem.sampler(problem.split.test, shots)

    def validation(shots: int) -> Sampler:
        return problem.sampler(problem.split.validation, shots)

    trials = [Trial(trained, validation)]
    return evaluate(PROTOCOL, [trained], HeldOut(test), trials, "others", lambda what, done, total: None)


def test_every_start_is_measured_at_every_step_and_judged_within_the_policy_s_budget() -> None:
    done = evaluation()
    assert done.starts == (
        "meta",
        "joint_finetuned",
        "joint_solved",
        "joint",
        "nearest",
        "device_only",
        "trees",
        "linear",
        "support",
    )
    for curve in done.curves:
        descends = curve.start in ("meta", "joint_finetuned", "device_only")
        solved = curve.start == "joint_solved"
        assert curve.steps == ((0, 1, 2, 4) if descends else (0, 1) if solved else (0,))
        assert curve.steps[curve.chosen] <= PROTOCOL.policy_steps
        assert all(len(point.values) == len(done.tasks) == 6 for point in curve.points)
        assert bool(curve.setting) == (curve.start not in ("joint", "joint_solved"))
        assert curve.validation is not None


def test_a_rate_that_overflows_is_never_chosen() -> None:
    rates = {curve.setting["inner_lr"] for curve in evaluation().curves if "inner_lr" in curve.setting}
    assert rates <= {0.001, 0.01, RECIPE.learner.inner_lr}


def test_a_figure_is_the_mean_query_error_of_the_adapted_model() -> None:
    problem = open_problem(RECIPE)
    learner, sampler = problem.learner(), problem.sampler(problem.split.test, 10)
    episodes = [sampler.every_task(draw) for draw in range(2)]
    by_hand = []
    for each in episodes:
        adapted = learner.adapt(problem.start(), each.support, 1)[1]
        by_hand.append(
            ((learner.predict(adapted, each.query.x) - each.query.y) ** 2).mean(dim=(1, 2)).numpy()
        )
    own = Descent("meta", learner, problem.start(), ({},), (0, 1))
    measured = measure(own, problem.loss, episodes, {})
    assert measured[1] == pytest.approx(np.mean(by_hand, axis=0), rel=1e-5)
    curve = evaluation().curve("meta", 10)
    again = measure(own, problem.loss, episodes, curve.setting)
    assert curve.judged.values == pytest.approx(list(again[curve.chosen]))


def test_nobody_is_chosen_by_steps_that_nobody_is_judged_at() -> None:
    problem = open_problem(RECIPE)
    taken: list[int] = []

    class Told(Descent):
        def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
            taken.append(max(self.steps))
            return super().outputs(episodes, setting)

    own = Told("meta", problem.learner(), problem.start(), ({"inner_lr": 0.01},), (0, 1, 5, 50))
    episodes = [problem.sampler(problem.split.validation, 5).every_task()]
    choice = choose([(own, episodes)], problem.loss, budget=5)
    assert taken == [5]
    row = measure(own, problem.loss, episodes, own.settings[0]).mean(axis=1)
    assert (choice.position, choice.value) == (int(row[:3].argmin()), row[:3].min())


def test_the_policy_s_shots_are_measured_whatever_else_is() -> None:
    """`acclimate init` writes how many examples a device has, and the verdict is about that device."""
    episodes = RECIPE.episodes.model_copy(update={"shots": 16})
    recipe = RECIPE.model_copy(update={"episodes": episodes})
    assert recipe.evaluation.shots == (1, 5)
    assert protocol_of(recipe).shots == (1, 5, 16)


def test_comparisons_are_paired_by_task_and_positive_where_the_start_is_better() -> None:
    done = evaluation()
    meta = np.array(done.curve("meta", 5).judged.values)
    for comparison in (each for each in done.comparisons if each.shots == 5):
        other = np.array(done.curve(comparison.against, 5).judged.values)
        assert comparison.gain == pytest.approx((other - meta).mean())  # an error: less is better
        assert comparison.tasks_better == (other >= meta).sum()


def test_it_survives_json_and_refuses_another_format() -> None:
    document = json.loads(json.dumps(evaluation().as_json()))
    assert Evaluation.from_json(document) == evaluation()
    with pytest.raises(ValueError, match="format 9"):
        Evaluation.from_json({**document, "format": 9})


def test_people_can_read_it(tmp_path: Path) -> None:
    columns, rows = table(evaluation(), 5)
    assert columns == ["start", "0", "1", "2", "4", "worst*", "chosen"]
    assert [row[0] for row in rows][:2] == ["this start", "joint + fine-tuning"]
    assert all(sum("*" in cell for cell in row) == 1 for row in rows)
    assert "held-out tasks reach normalized mse" in headline(evaluation(), 10)
    assert headline(evaluation(), 10).endswith("6 held-out devices are too few to tell")
    assert evaluation().curve("meta", 10).judged.worst_task in worst_sentence(evaluation(), 10)
    save_plot(evaluation(), "waves", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("broken", ["acclimate.evaluation.lineup.grow", "acclimate.evaluation.trees._at"])
def test_a_rival_that_raises_is_named_and_ends_nobody_else(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*given: object, **options: object) -> None:
        raise ValueError("bins\nof nothing")

    monkeypatch.setattr(broken, raises)
    evaluation.cache_clear()
    done = Evaluation.from_json(json.loads(json.dumps(evaluation().as_json())))
    evaluation.cache_clear()
    assert done.unmeasured == {"trees": "ValueError: bins of nothing"}
    assert len(done.starts) == 8
    assert "trees" not in done.starts
    told = judge(done).sentence
    assert told.endswith(". Not measured, for it failed: pooled boosted trees (ValueError: bins of nothing).")


@pytest.mark.parametrize("error", [MemoryError, OSError])
@pytest.mark.parametrize("broken", ["acclimate.evaluation.lineup.grow", "acclimate.evaluation.trees._at"])
def test_what_the_machine_lacks_is_no_fault_of_a_rival(
    broken: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*given: object, **options: object) -> None:
        raise error

    evaluation.cache_clear()
    monkeypatch.setattr(broken, raises)
    with pytest.raises(error):
        evaluation()


def test_a_start_that_raises_is_no_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*given: object) -> None:
        raise RuntimeError("no such kernel")

    evaluation.cache_clear()
    monkeypatch.setattr(Descent, "outputs", raises)
    with pytest.raises(RuntimeError, match="kernel"):
        evaluation()
