"""Fleets whose answer is known: one number a device, the joint model, adaptation, too few devices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.evaluation import Verdict, judge
from acclimate.training.executor import InProcess
from acclimate.training.loop import OuterState, train
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.shard import deterministic
from acclimate.training.validation import validator
from acclimate.workflow import evaluate_starts, phases
from tests.support.listeners import Quiet

ROWS = 60
ANSWERS = {"a number": "rival", "joint": "joint", "adaptation": "start", "few": "record-more"}
SEEDS = 20

pytestmark = pytest.mark.slow


def recordings(kind: str, seed: int, path: Path) -> Path:
    """Rows of a fleet: three inputs, a target, and what differs between its devices."""
    rng = np.random.default_rng(seed)
    devices = 20 if kind == "few" else 60
    device = np.repeat(np.arange(devices), ROWS)
    x = rng.normal(size=(len(device), 3))
    if kind == "a number":
        y = rng.normal(size=devices)[device]
    elif kind == "joint":
        y = np.sin(2 * x[:, 0]) + x[:, 1]
    else:
        y = (x * rng.normal(size=(devices, 3))[device]).sum(1)
    y = y + 0.3 * rng.normal(size=len(y))
    columns = {"device": [f"d{number:02d}" for number in device], "target": y}
    columns |= {"time": np.tile(np.arange(ROWS, dtype=float), devices)}
    columns |= {f"x{number}": x[:, number] for number in range(3)}
    pq.write_table(pa.table(columns), path)
    return path


def verdict_on(kind: str, seed: int, folder: Path) -> Verdict:
    """Train, evaluate and judge as `acclimate train` does."""
    source = recordings(kind, seed, folder / f"{kind} {seed}.parquet")
    recipe = Recipe.model_validate(
        {
            "name": "fleet",
            "seed": seed,
            "data": {
                "source": str(source),
                "recordings": {
                    "kind": "regression",
                    "task": "device",
                    "time": "time",
                    "channels": ["x0", "x1", "x2"],
                    "targets": ["target"],
                },
                "test": 4 if kind == "few" else 16,
                "validation": 8,
                "split_seed": seed,
            },
            "episodes": {"shots": 20, "query_shots": 20},
            "model": {"options": {"hidden": [24], "activation": "tanh"}},
            "learner": {"algorithm": "closed-form", "adapt_steps": 5},
            "training": {
                "steps": 200,
                "meta_batch": 16,
                "shard": 16,
                "optimizer": {"lr": 0.01, "final_lr": 0.0},
            },
            "evaluation": {"shots": [20], "steps": [0, 1], "rates": [0.03, 0.1], "long_steps": 5, "draws": 4},
        }
    )
    problem = open_problem(recipe)
    metas: dict[str, dict] = {}
    for phase, of in phases(problem).items():
        own = problem.again(of)
        with deterministic():
            start = own.warm_start(metas[f"joint-{seed}"]) if own.recipe.closed_form else own.start()
        state = OuterState.begin(start, of.training.optimizer)
        train(
            of,
            state,
            partial(InProcess({phase: of}, problem).compute, phase),
            validate=validator(own),
            on_step=lambda report: None,
            on_checkpoint=lambda state: None,
            should_stop=lambda: False,
        )
        metas[phase] = state.result
    return judge(evaluate_starts(problem, metas, Quiet()))


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(2), id="two seeds"),
        pytest.param(
            range(2, SEEDS), id="all others", marks=[pytest.mark.nightly, pytest.mark.timeout(7200)]
        ),
    ],
)
@pytest.mark.parametrize("kind", list(ANSWERS))
def test_the_verdict_names_the_answer(
    kind: str, seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    verdicts = {seed: verdict_on(kind, seed, tmp_path) for seed in seeds}
    wrong = {seed: each.sentence for seed, each in verdicts.items() if each.ship != ANSWERS[kind]}
    assert not wrong, f"{len(wrong)} of {len(seeds)}: {wrong}"
