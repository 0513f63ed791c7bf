"""Run the pipeline on this machine: each step a process of this Python, no cluster, no container."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import local

from acclimate.errors import TrainingError
from acclimate_pipelines.retraining import retraining


def run_here(parameters: Mapping[str, Any], root: Path) -> None:
    """Run it to the end; what the steps print goes to standard error.

    Args:
        parameters: of the pipeline.
        root: where the artifacts are kept, a folder for each run.

    Raises:
        TrainingError: a step failed; it has said why.
    """
    root.mkdir(parents=True, exist_ok=True)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    logging.getLogger().setLevel(logging.INFO)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.filterwarnings("ignore", message=".*custom or non-Python base image.*")
        try:
            retraining(None, to_fleet=bool(parameters.get("fleet")))(**parameters)
        except RuntimeError as error:  # all that Kubeflow tells: which step it was
            raise TrainingError(
                f"{_first_line(error)}; its last lines say why, its artifacts are in {root}"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
