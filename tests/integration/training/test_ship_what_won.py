"""A rival that wins can be shipped: its recipe trains to a version with its figures, and to a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.bundle.export import Bundle
from acclimate.bundle.registered import bundle_of
from acclimate.challenge import measure
from acclimate.registry import Registry
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate.workflow import meta_train
from acclimate.workflow.candidates import SHIPPABLE, changes_for
from acclimate_device import Device
from acclimate_device.testing import SimulatedFlash
from tests.support.listeners import Quiet

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home_of_the_file")]

ROWS = 40


def recipe(folder: Path, kind: str, devices: int = 12, **learner: object) -> Recipe:
    """Devices whose classes, or numbers, lie where the device's own offset puts them."""
    rng = np.random.default_rng(0)
    device = np.repeat(np.arange(devices), ROWS)
    label = rng.integers(0, 2, len(device))
    x = rng.normal(size=(len(device), 2)) + 2 * label[:, None] + rng.normal(size=(devices, 2))[device]
    columns = {"device": [f"d{number:02d}" for number in device], "x0": x[:, 0], "x1": x[:, 1]}
    columns |= {"time": np.tile(np.arange(ROWS, dtype=float), devices)}
    classes = kind == "classification"
    columns["answer"] = (
        [f"c{each}" for each in label] if classes else x.sum(1) + rng.normal(size=devices)[device]
    )
    pq.write_table(pa.table(columns), folder / f"{kind}.parquet")
    meaning = {"kind": kind, "task": "device", "time": "time", "channels": ["x0", "x1"]}
    meaning |= {"label": "answer"} if classes else {"targets": ["answer"]}
    return Recipe.model_validate(
        {
            "name": "fleet",
            "data": {
                "source": str(folder / f"{kind}.parquet"),
                "recordings": meaning,
                "test": devices // 4,
                "validation": 3 if devices > 4 else 0,
            },
            "episodes": {"shots": 3, "query_shots": 6},
            "model": {"options": {"hidden": [8]}},
            "learner": learner,
            "training": {"steps": 8, "meta_batch": 4, "shard": 4, "workers": 0},
            "baseline": {"steps": 12, "lr": 0.01},
            "evaluation": {
                "shots": [1, 3],
                "steps": [0, 1, 2],
                "rates": [0.01],
                "long_steps": 4,
                "draws": 2,
            },
        }
    )


@pytest.mark.parametrize(
    ("kind", "learner"),
    [
        ("classification", {"algorithm": "closed-form"}),
        ("regression", {"algorithm": "maml", "first_order": True, "inner_steps": 2, "inner_lr": 0.02}),
    ],
    ids=["classes in closed form", "numbers by steps"],
)
def test_the_recipe_of_a_rival_trains_to_its_figures(
    kind: str, learner: dict[str, object], tmp_path: Path
) -> None:
    first = meta_train(recipe(tmp_path, kind, **learner), listener=Quiet())
    assert first is not None
    file = tmp_path / "fleet.yaml"
    file.write_text(to_yaml(recipe(tmp_path, kind, **learner)))
    for start in SHIPPABLE:
        of_rival = load_recipe(str(file), changes_for(load_recipe(str(file)), start))
        again = meta_train(of_rival, listener=Quiet())
        assert again is not None
        for shots in (1, 3):
            rival, own = first.evaluation.curve(start, shots), again.evaluation.curve("meta", shots)
            assert own.judged.values == rival.judged.values, (start, shots)
            assert own.validation == rival.validation
        assert start not in again.evaluation.starts  # it is no rival of itself
        assert again.verdict.ship == "record-more"  # three devices decide nothing, and say so
        bundle = bundle_of(Registry.open(), f"fleet@{again.version.version}")
        if start == "joint":
            compared = measure(open_problem(of_rival), again.initialization).curve("meta", 3)
            assert compared.judged.values == pytest.approx(own.judged.values)
            assert bundle.manifest.adaptation.steps == 0
            assert _stays(bundle)


@pytest.mark.parametrize("devices", [12, 4], ids=["validation devices", "folds of a tiny fleet"])
def test_a_meta_training_that_only_harms_ships_the_joint_model_with_its_heads_solved(
    devices: int, tmp_path: Path
) -> None:
    wanted = recipe(tmp_path, "classification", devices, algorithm="closed-form")
    file = tmp_path / "fleet.yaml"
    file.write_text(to_yaml(wanted))
    solved = meta_train(load_recipe(str(file), changes_for(wanted, "joint_solved")), listener=Quiet())
    wild = load_recipe(str(file), ["training.optimizer.lr=0.5", "training.steps=40"])
    harmed = meta_train(wild, listener=Quiet())
    assert solved is not None
    assert harmed is not None
    assert harmed.initialization.content_hash() == solved.initialization.content_hash()
    assert harmed.evaluation.curve("meta", 3).judged == solved.evaluation.curve("meta", 3).judged


def _stays(bundle: Bundle) -> bool:
    """Whether forty labels that contradict each other's start leave a device's answer where it was."""
    device = Device(bundle.files.get, SimulatedFlash())
    asked = np.array([1.0, -1.0], np.float32)
    before = device.predict_one(asked)
    labels = bundle.manifest.output.labels
    for number in range(40):
        x = np.array([number % 5, 1.0], np.float32)
        device.learn_one(x, labels[0] if labels else 100.0)
    after = device.predict_one(asked)
    return bool(device.adapted is False and before == after)
