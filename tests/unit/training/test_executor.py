"""Shards of a step in this process: side by side where code is compiled, with the same bits."""

from __future__ import annotations

from threading import Event, current_thread
from time import sleep
from types import SimpleNamespace

import pytest
import torch

from acclimate.training.executor import InProcess
from acclimate.training.loop import shards_of
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.shard import Drawn, ShardResult, ShardWorker, deterministic
from acclimate.training.sums import add_up

STEPS = 20


def test_a_shard_that_raises_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    first_raised = Event()

    class Worker:
        learner = SimpleNamespace(draws=False)

        def draw(self, step: int, indices: list[int]) -> None:
            pass

        def learn(self, meta: object, step: int, indices: list[int], drawn: None) -> None:
            with deterministic():
                if indices == [0]:
                    first_raised.set()
                    raise ValueError("not finite")
                assert first_raised.wait(10)
                sleep(0.1)  # what the others do meanwhile

    workers = InProcess({})
    monkeypatch.setattr(workers, "_worker", lambda phase: Worker())
    with pytest.raises(ValueError, match="not finite"):
        workers.compute("meta", {}, 0, [[0], [1]])
    sleep(0.3)
    assert torch.get_deterministic_debug_mode() == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it compiles twice, and compilers are slow on a busy machine
def test_threads_give_the_bits_of_one_shard_after_the_other(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "waves",
            "data": {"source": "sinusoid", "options": {"tasks": 200}},
            # Other code from the third step on, made while threads run.
            "learner": {"algorithm": "maml++", "inner_steps": 1, "multi_step": 2, "compile": "on"},
            "training": {"steps": STEPS, "meta_batch": 8, "shard": 2},
        }
    )
    problem = open_problem(recipe)
    meta, shards, seen = problem.start(), shards_of(recipe.training), set()
    learn, draw, drawn_at = ShardWorker.learn, ShardWorker.draw, []

    def watched(*given: object) -> ShardResult:
        seen.add(current_thread().name)
        return learn(*given)

    def noted(worker: ShardWorker, step: int, indices: list[int]) -> Drawn:
        drawn_at.append((step, indices[0]))
        return draw(worker, step, indices)

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    workers = InProcess({"meta": recipe}, problem)
    monkeypatch.setattr(ShardWorker, "learn", watched)
    monkeypatch.setattr(ShardWorker, "draw", noted)
    side_by_side = [workers.compute("meta", meta, step, shards) for step in range(STEPS)]
    assert len(seen) > 1
    assert len(set(drawn_at)) == len(drawn_at)  # ahead of its step, and not again in it
    one = ShardWorker.of(problem.again(recipe))
    for step, found in enumerate(side_by_side):
        expected = [one.compute(meta, step, shard) for shard in shards]
        assert [result.figures for result in found] == [result.figures for result in expected]
        for name, tensor in add_up(expected).gradient.items():
            assert torch.equal(add_up(found).gradient[name], tensor)
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == (3, 0)
