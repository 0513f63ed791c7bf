"""Train a recipe in this process and keep what the fields' tables need of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from acclimate.evaluation import Evaluation
from acclimate.initialization import Initialization
from acclimate.learners import MetaParams
from acclimate.training.checkpoint import load_checkpoint
from acclimate.training.loop import StepReport
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe
from acclimate.workflow import chosen_initialization, evaluate_starts, meta_train, phases


class Silent:
    """Says only which phase began."""

    def on_data(self, problem: Problem, directory: Path) -> None: ...

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        print(f"  {phase}", file=sys.stderr, flush=True)

    def on_step(self, report: StepReport) -> None: ...

    def on_evaluation(self, what: str, done: int, total: int) -> None: ...

    def on_warning(self, message: str) -> None: ...


@dataclass(frozen=True)
class Trained:
    """A finished run: the evaluation over all seeds, and every seed's parameters by phase."""

    recipe: Recipe
    evaluation: Evaluation
    metas: dict[str, MetaParams]

    @property
    def problem(self) -> Problem:
        return open_problem(self.recipe)

    @property
    def seeds(self) -> range:
        return range(self.recipe.seed, self.recipe.seed + self.recipe.evaluation.seeds)

    def of_seed(self, seed: int) -> Problem:
        """The problem with that seed's network."""
        return open_problem(self.recipe.model_copy(update={"seed": seed}))

    def initialization(self, seed: int) -> Initialization:
        """What devices receive of that seed."""
        return chosen_initialization(self.of_seed(seed), self._metas_of(seed))

    def by_seed(self) -> Iterator[Evaluation]:
        """The evaluation of each seed alone."""
        section = self.recipe.evaluation.model_copy(update={"seeds": 1})
        for seed in self.seeds:
            alone = self.recipe.model_copy(update={"seed": seed, "evaluation": section})
            yield evaluate_starts(open_problem(alone), self._metas_of(seed), Silent())

    def _metas_of(self, seed: int) -> dict[str, MetaParams]:
        """The parameters, those of folds, which only the first seed trains, under this seed's names, too."""
        folds = f"-{self.recipe.seed}-fold-"
        return self.metas | {
            phase.replace(folds, f"-{seed}-fold-"): meta for phase, meta in self.metas.items()
        }


def train(recipe: Recipe) -> Trained:
    """Run the main job in this process, registered in `ACCLIMATE_HOME`."""
    torch.set_num_threads(1)
    print(f"{recipe.name}: {recipe.training.steps} steps, {recipe.evaluation.seeds} seeds", file=sys.stderr)
    here = recipe.training.model_copy(update={"workers": 0})
    recipe = recipe.model_copy(update={"training": here})
    outcome = meta_train(recipe, listener=Silent())
    assert outcome is not None  # nobody stops it
    metas = {
        phase: load_checkpoint(outcome.directory / f"{phase}.pt").result
        for phase in phases(open_problem(recipe))
    }
    return Trained(recipe, outcome.evaluation, metas)


def data_directory() -> Path:
    """The folder of the data sets."""
    given = os.environ.get("ACCLIMATE_DATA_DIR")
    if not given:
        raise SystemExit("set ACCLIMATE_DATA_DIR to the folder of the data sets")
    return Path(given)
