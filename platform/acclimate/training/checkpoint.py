"""Checkpoints: the state of a run after a step, written so that a crash leaves the old one or the new one.

The state is tensors, numbers and strings only, so that it is read without unpickling code.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acclimate.errors import TrainingError
from acclimate.files import scratch_file
from acclimate.training.recipe import Recipe, differing_keys

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` outer steps.

    Attributes:
        step: outer steps done.
        meta: the meta-parameters.
        optimizer: the outer optimizer's `state_dict`.
        determines: `Recipe.determines()` of the run.
        average: the running mean of the meta-parameters, where the recipe asks for one.
        best: the step, loss and meta-parameters that did best on the validation tasks; None where nobody
            looked.
    """

    step: int
    meta: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    determines: dict[str, Any]
    average: dict[str, torch.Tensor] | None = None
    best: dict[str, Any] | None = None

    @property
    def result(self) -> dict[str, torch.Tensor]:
        """What training made: the best on the validation tasks, else the running mean or the last ones."""
        if self.best is not None:
            return dict(self.best["meta"])
        return self.meta if self.average is None else self.average


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write atomically: a new file, flushed to disk, then renamed over the old one."""
    with scratch_file(path) as scratch:
        torch.save({"format": _FORMAT, **vars(checkpoint)}, scratch)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        TrainingError: there is none, or it is unreadable or of another format.
    """
    try:
        state = torch.load(path, weights_only=True)
        if state.pop("format") != _FORMAT:
            raise ValueError("it has another format")
        return Checkpoint(**state)
    except pickle.PickleError as error:  # torch's own message advises to load it unsafely
        raise TrainingError(f"{path} is not a checkpoint: start the run without --resume") from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError) as error:
        raise TrainingError(
            f"checkpoint {path} cannot be read ({error}): start the run without --resume"
        ) from error


def check_same_recipe(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Refuse to go on with a recipe whose parameters would be others.

    Raises:
        TrainingError: names every key that differs.
    """
    differing = differing_keys(checkpoint.determines, recipe.determines())
    if differing:
        raise TrainingError(
            "the recipe is not the one this run was started with, so it cannot be resumed:\n  "
            + "\n  ".join(differing)
            + "\nset these back, or start a new run without --resume"
        )
