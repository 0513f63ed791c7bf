from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from acclimate.errors import TrainingError
from acclimate.learners import MetaParams
from acclimate.training.loop import ComputeShards, OuterState, learning_rate, shards_of, still_falling, train
from acclimate.training.recipe import Recipe
from acclimate.training.sections import OptimizerSection
from acclimate.training.shard import ShardResult


def recipe(**training: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "quadratic",
            "data": {"source": "sinusoid"},
            "training": {"steps": 6, "meta_batch": 4, "shard": 2, "checkpoint_every": 2, **training},
        }
    )


def quadratic(meta: MetaParams, step: int, shards: Sequence[list[int]]) -> list[ShardResult]:
    """Task i pulls w towards i: the mean gradient of `(w - i)^2 / 2` over tasks 0 to 3 is `w - 1.5`."""
    return [
        ShardResult(
            {"w": sum((meta["w"] - index for index in indices), torch.zeros(()))},
            {"loss": float(sum((meta["w"] - index) ** 2 / 2 for index in indices)), "tasks": len(indices)},
        )
        for indices in shards
    ]


def run(
    recipe: Recipe, state: OuterState, compute: ComputeShards = quadratic, stop_after: int = 99
) -> list[int]:
    saved: list[int] = []
    train(
        recipe,
        state,
        compute,
        on_step=lambda report: None,
        on_checkpoint=lambda state: saved.append(state.step),
        should_stop=lambda: state.step >= stop_after,
    )
    return saved


def begin(recipe: Recipe) -> OuterState:
    return OuterState.begin({"w": torch.zeros(())}, recipe.training.optimizer)


def test_a_step_follows_the_mean_over_all_tasks() -> None:
    sgd = recipe(steps=1, optimizer={"name": "sgd", "lr": 0.1})
    state = begin(sgd)
    run(sgd, state)
    assert float(state.meta["w"]) == pytest.approx(0.15)


def test_a_long_meta_gradient_is_clipped() -> None:
    clipped = recipe(steps=1, optimizer={"name": "sgd", "lr": 0.1, "clip_norm": 0.5})
    state = begin(clipped)
    run(clipped, state)
    assert float(state.meta["w"]) == pytest.approx(0.05)


def test_checkpoints_come_every_n_steps_and_at_the_end() -> None:
    assert run(recipe(), begin(recipe())) == [2, 4, 6]
    assert run(recipe(steps=5), begin(recipe(steps=5))) == [2, 4, 5]


def test_a_stop_writes_a_checkpoint_and_resuming_gives_the_same_bits() -> None:
    whole = begin(recipe())
    run(recipe(), whole)
    stopped = begin(recipe())
    assert run(recipe(), stopped, stop_after=3) == [2, 3]
    resumed = OuterState.restore(stopped.checkpoint(recipe()), recipe().training.optimizer)
    run(recipe(), resumed)
    assert torch.equal(resumed.meta["w"], whole.meta["w"])
    without_moments = begin(recipe())
    without_moments.meta["w"].copy_(stopped.meta["w"])
    without_moments.step = 3
    run(recipe(), without_moments)
    assert not torch.equal(without_moments.meta["w"], whole.meta["w"])


def test_divergence_ends_training_with_a_remedy() -> None:
    def diverging(meta: MetaParams, step: int, shards: Sequence[list[int]]) -> list[ShardResult]:
        return [replace(result, gradient={"w": meta["w"] / 0}) for result in quadratic(meta, step, shards)]

    state = begin(recipe())
    with pytest.raises(TrainingError, match=r"step 1: loss .* lower training\.optimizer\.lr"):
        run(recipe(), state, diverging)
    assert float(state.meta["w"]) == 0.0


def test_shards_cover_the_meta_batch_in_order() -> None:
    assert shards_of(recipe().training) == [[0, 1], [2, 3]]


def test_the_step_size_falls_along_a_cosine_to_its_last_value() -> None:
    falling = OptimizerSection(lr=1.0, final_lr=0.2)
    assert [learning_rate(falling, step, 5) for step in (0, 2, 4)] == pytest.approx([1.0, 0.6, 0.2])
    assert learning_rate(OptimizerSection(lr=0.3), 4, 5) == 0.3


def test_the_step_size_rises_before_it_falls() -> None:
    cycle = OptimizerSection(lr=1.0, final_lr=0.0, warmup=0.5)
    rates = [learning_rate(cycle, step, 9) for step in range(9)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[-1] == pytest.approx(0.0)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_running_mean_is_what_training_made_and_survives_a_stop() -> None:
    averaged = recipe(average=0.5, optimizer={"name": "sgd", "lr": 0.1})
    whole = begin(averaged)
    run(averaged, whole)
    weight, mean = 0.0, 0.0
    for step in range(1, 7):
        weight -= 0.1 * (weight - 1.5)
        kept = min(0.5, step / (step + 10))
        mean = kept * (mean if step > 1 else weight) + (1 - kept) * weight
    assert float(whole.meta["w"]) == pytest.approx(weight)
    assert float(whole.result["w"]) == pytest.approx(mean)
    stopped = begin(averaged)
    run(averaged, stopped, stop_after=3)
    resumed = OuterState.restore(stopped.checkpoint(averaged), averaged.training.optimizer)
    run(averaged, resumed)
    assert torch.equal(resumed.result["w"], whole.result["w"])


@pytest.mark.parametrize(
    ("changes", "losses", "expected"),
    [
        ({}, [6.0, 5.0, 4.0, 3.0], True),
        ({}, [3.0, 3.0, 2.0, 4.0], False),  # the last but one was best
        ({"optimizer": {"final_lr": 0.0}}, [6.0, 5.0, 4.0, 3.0], False),  # for so ends every cosine
        ({"stop_at": 60}, [6.0, 5.0, 4.0, 3.0], False),  # as was asked for
        ({"patience": 9}, [3.0, 2.0, 4.0, 3.0], False),  # however much patience was left
        ({"patience": 1}, [1.0, 5.0, 4.0, 3.0], False),  # ended before its steps were over
    ],
)
def test_a_loss_that_fell_to_the_very_end_says_train_longer(
    changes: dict[str, object], losses: list[float], expected: bool
) -> None:
    long = recipe(**{"steps": 60, "validate_every": 20, **changes})
    state, looks = begin(long), iter(losses)
    train(
        long,
        state,
        quadratic,
        validate=lambda meta: next(looks),
        on_step=lambda report: None,
        on_checkpoint=lambda state: None,
        should_stop=lambda: False,
    )
    assert still_falling(state.checkpoint(long), long.training) is expected
    blind = replace(state.checkpoint(long), best=None)
    assert not still_falling(blind, long.training)
