"""Fleets whose answer is known, from `acclimate init` to the verdict of `acclimate train`; and odd ones.

`python -m tests.integration.training.test_verdicts` prints the verdict on each of them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.evaluation import Evaluation

Floats = npt.NDArray[np.float64]
ROWS = 60
SEEDS = 20
LETTERS = np.array(["a", "b", "c", "d"])

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home_of_the_file")]


def joint(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    return np.sin(2 * x[:, 0]) + x[:, 1] + 0.3 * rng.normal(size=len(x))


def adaptation(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    return (x * rng.normal(size=(device.max() + 1, 3))[device]).sum(1) + 0.3 * rng.normal(size=len(x))


def number(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    return rng.normal(size=device.max() + 1)[device] + 0.3 * rng.normal(size=len(x))


def two_clusters(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    kinds = np.array([[2.0, -1.0, 0.0], [-1.0, 1.0, 2.0]])
    return (x * kinds[device % 2]).sum(1) + 0.3 * rng.normal(size=len(x))


def heavy_tails(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    """As heavy as a mean squared error bears: with fewer than three degrees of freedom it has no expectation
    worth the name, and no verdict is wrong."""
    return adaptation(rng, device, x) + 0.5 * rng.standard_t(3, size=len(x))


def turned_over(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    """Half-way through its time, each device becomes another one: what it learnt then is of no use."""
    later = np.arange(len(device)) % ROWS >= ROWS // 2
    return adaptation(rng, 2 * device + later, x)


def mostly_constant(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> Floats:
    """Four devices of five always say one number, of their own."""
    level, alive = rng.normal(size=device.max() + 1)[device], device % 5 == 0
    return np.where(alive, x[:, 0] + 0.3 * rng.normal(size=len(x)), level)


def noisy_labels(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> npt.NDArray[np.str_]:
    """One rule for all, a third of whose labels are drawn by lot."""
    classes = (x[:, 0] > 0) + 2 * (x[:, 1] > 0)
    return LETTERS[np.where(rng.random(len(x)) < 1 / 3, rng.integers(0, 4, len(x)), classes)]


def absent_classes(
    rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats
) -> npt.NDArray[np.str_]:
    """A device knows two of four classes, told apart by a direction of its own."""
    towards = rng.normal(size=(device.max() + 1, 3))[device]
    pair = device % 2
    return LETTERS[2 * pair + ((x * towards).sum(1) > 0)]


def one_class(rng: np.random.Generator, device: npt.NDArray[np.int64], x: Floats) -> npt.NDArray[np.str_]:
    """Nine devices of ten always say the same."""
    return LETTERS[np.where(device % 10 == 0, x[:, 0] > 0, 0)]


Target = Callable[[np.random.Generator, npt.NDArray[np.int64], Floats], npt.NDArray]
KNOWN: dict[str, tuple[Target, int, str]] = {
    "a number": (number, 60, "rival"),
    "joint": (joint, 60, "joint"),
    "adaptation": (adaptation, 60, "start"),
    "few": (adaptation, 20, "record-more"),  # `init` sets four aside to judge
}
"""By name: what a device's answers are, how many devices, and what to ship."""
ODD: dict[str, tuple[Target, int, set[str]]] = {
    "two clusters": (two_clusters, 60, {"start"}),
    "heavy tails": (heavy_tails, 60, {"start"}),
    "turned over": (turned_over, 60, {"joint", "rival", "record-more"}),
    "mostly constant": (mostly_constant, 60, {"start", "rival", "record-more"}),
    "noisy labels": (noisy_labels, 60, {"joint", "rival", "record-more"}),
    "absent classes": (absent_classes, 60, {"start", "joint"}),
    "one class": (one_class, 60, {"joint", "rival", "record-more"}),
    "one is nine tenths": (adaptation, 60, {"start"}),
    "three devices": (adaptation, 3, {"record-more"}),
    "four devices": (absent_classes, 4, {"record-more"}),
    "five devices": (joint, 5, {"record-more"}),
}
"""Likewise, with every answer that makes sense."""


def recordings(target: Target, devices: int, seed: int, path: Path, *, unequal: bool) -> bool:
    """Write the rows of a fleet, three inputs and a target; and tell whether that is a class."""
    rng = np.random.default_rng(seed)
    rows = np.full(devices, ROWS)
    if unequal:
        rows[seed % devices] = 9 * ROWS * (devices - 1)
    device = np.repeat(np.arange(devices), rows)
    x = rng.normal(size=(len(device), 3))
    y = target(rng, device, x)
    columns = {"device": [f"d{number:02d}" for number in device], "target": y}
    columns |= {"time": np.concatenate([np.arange(each, dtype=float) for each in rows])}
    columns |= {f"x{number}": x[:, number] for number in range(3)}
    pq.write_table(pa.table(columns), path)
    return bool(y.dtype.kind == "U")


def verdict_on(kind: str, seed: int, folder: Path) -> str:
    """What `acclimate train` makes of a fleet: what to ship, and the sentence.

    A known fleet by the recipe that `acclimate init` writes, which is what we promise; an odd one by a small
    one.
    """
    target, devices, _ = {**KNOWN, **ODD}[kind]
    source, recipe = folder / f"{kind} {seed}.parquet", folder / f"{kind} {seed}.yaml"
    classes = recordings(target, devices, seed, source, unequal=kind == "one is nine tenths")
    if kind in KNOWN:
        _told("init", str(source), "--target", "target", "-o", str(recipe), "--name", "fleet")
    else:
        recipe.write_text(json.dumps(_small(source, classes, devices)))  # JSON is YAML
    changes = ["training.workers=0", f"seed={seed}", f"data.split_seed={seed}"]
    told = _told("train", str(recipe), *(word for change in changes for word in ("--set", change)))
    evaluation = Evaluation.from_json(told["evaluation"])
    own, simpler = (
        evaluation.curve(start, evaluation.policy_shots).validation for start in ("meta", "joint_solved")
    )
    assert own is not None
    assert simpler is not None
    # Meta-training that brings nothing on the validation devices, or on a tiny fleet's folds, never ships.
    assert own >= simpler if classes else own <= simpler
    return f"{told['verdict']['ship']}: {told['verdict']['sentence']}"


def _small(source: Path, classes: bool, devices: int) -> dict[str, Any]:
    meaning: dict[str, Any] = {"kind": "regression", "task": "device", "time": "time", "targets": ["target"]}
    if classes:
        meaning = {"kind": "classification", "task": "device", "time": "time", "label": "target"}
    shots = 5 if classes else 20
    aside = {"test": 16, "validation": 8} if devices >= 20 else {}
    return {
        "name": "fleet",
        "data": {
            "source": str(source),
            "recordings": {**meaning, "channels": ["x0", "x1", "x2"]},
            **aside,
        },
        "episodes": {"shots": shots, "query_shots": shots},
        "model": {"options": {"hidden": [24], "activation": "tanh"}},
        "learner": {"algorithm": "closed-form", "adapt_steps": 5},
        "training": {
            "steps": 200,
            "meta_batch": 16,
            "shard": 16,
            "optimizer": {"lr": 0.01, "final_lr": 0.0},
        },
        "evaluation": {
            "shots": [shots],
            "steps": [0, 1],
            "rates": [0.03, 0.1],
            "long_steps": 5,
            "draws": 4,
        },
    }


def _told(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(1), id="one seed"),
        pytest.param(
            range(1, SEEDS), id="all others", marks=[pytest.mark.nightly, pytest.mark.timeout(7200)]
        ),
    ],
)
@pytest.mark.parametrize("kind", list(KNOWN))
def test_the_verdict_names_the_answer(kind: str, seeds: range, tmp_path: Path) -> None:
    verdicts = {seed: verdict_on(kind, seed, tmp_path) for seed in seeds}
    wrong = {seed: each for seed, each in verdicts.items() if _ship(each) != KNOWN[kind][2]}
    assert not wrong, f"{len(wrong)} of {len(seeds)}: {wrong}"


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", list(ODD))
def test_the_verdict_on_an_odd_fleet_makes_sense(kind: str, tmp_path: Path) -> None:
    verdicts = {seed: verdict_on(kind, seed, tmp_path) for seed in range(3)}
    wrong = {seed: each for seed, each in verdicts.items() if _ship(each) not in ODD[kind][2]}
    assert not wrong, wrong


def _ship(verdict: str) -> str:
    return verdict.partition(":")[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="verdicts-") as home:
        os.environ["ACCLIMATE_HOME"] = home
        asked = sys.argv[2:] or [*KNOWN, *ODD]
        for named in asked:
            for number_of_seed in range(int(sys.argv[1]) if sys.argv[1:] else 1):
                found = verdict_on(named, number_of_seed, Path(home))
                print(f"{named}, seed {number_of_seed}: {found}", flush=True)
