"""`train` killed at random points of its way through the file system, and what the next command finds."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.errors import TrainingError
from acclimate.registry import Registry
from acclimate.training.recipe import Recipe
from acclimate.workflow import meta_train
from tests.support.kills import die_at, in_a_child, steps_of
from tests.support.listeners import Quiet

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

RECIPE = Recipe.model_validate(
    {
        "name": "waves",
        "data": {"source": "sinusoid", "options": {"tasks": 60}, "test": 10},
        "training": {"steps": 4, "meta_batch": 2, "shard": 2, "workers": 0, "checkpoint_every": 1},
        "evaluation": {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "seeds": 1},
    }
)


def at_home(home: Path, act: Callable[[], object]) -> int:
    """The exit status of a child that does it with this home."""

    def acted() -> None:
        os.environ["ACCLIMATE_HOME"] = str(home)
        act()

    return in_a_child(acted)


def train_as_told() -> None:
    """What a person does who finds a run cut short: goes on with it, or begins where there is none."""
    try:
        outcome = meta_train(RECIPE, listener=Quiet(), resume=True)
    except TrainingError:  # "no unfinished run": it was cut before it began one
        outcome = meta_train(RECIPE, listener=Quiet())
    assert outcome is not None
    (Path(os.environ["ACCLIMATE_HOME"]) / "hash").write_text(outcome.version.content_hash)


def test_training_killed_anywhere_ends_at_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    whole, counted = tmp_path / "whole", tmp_path / "steps"
    whole.mkdir()
    assert at_home(whole, lambda: counted.write_text(str(steps_of(train_as_told)))) == 0
    wanted, most = (whole / "hash").read_text(), int(counted.read_text())
    for step in random.Random(0).sample(range(1, most), 8):
        home = tmp_path / f"killed-{step}"
        home.mkdir()

        def cut_short(step: int = step) -> None:
            die_at(step)
            meta_train(RECIPE, listener=Quiet())

        assert at_home(home, cut_short) in (-9, 0), step
        assert at_home(home, train_as_told) == 0, step
        assert (home / "hash").read_text() == wanted, step
        monkeypatch.setenv("ACCLIMATE_HOME", str(home))
        runs = Registry.open().runs("waves")
        assert [run.status for run in runs if run.status == "RUNNING"] == [], step
        assert list(home.rglob(".*.new-*")) == [], step
        for written in home.rglob("[!.]*.json"):
            json.loads(written.read_text())  # whole, whatever was cut
