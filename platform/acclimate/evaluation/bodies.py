"""Which body suits windows, from their length and from evidence, with the reason for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acclimate.evaluation.lookback import compare_lookbacks
from acclimate.evaluation.views import compare_views
from acclimate.tasks import TaskPool, split_tasks
from acclimate.tasks.recordings import LONGEST_WINDOW


@dataclass(frozen=True)
class Body:
    """A network for a recipe.

    Attributes:
        name: of `acclimate.models`.
        reason: why this one.
        options: its keyword arguments.
    """

    name: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)


def shorter_window(pool: TaskPool, held_out: int) -> tuple[int, str] | None:
    """Rows of a window from which a number is told as well as from the pool's, and why; None if of none.

    Args:
        held_out: groups that a recipe holds out, which are not looked at.
    """
    if pool.schema.kind != "regression" or not 1 < pool.schema.window <= LONGEST_WINDOW:
        return None
    found = compare_lookbacks(pool, split_tasks(pool, test=held_out).train)
    if found is None or found.rows == pool.schema.window:
        return None
    told = ", ".join(f"{rows}: {error:.2f}" for rows, error in found.errors.items())
    return found.rows, f"error of pooled trees on unseen devices, by the latest rows they see: {told}"


def choose_body(pool: TaskPool, held_out: int) -> Body:
    """The body for a pool; only tasks that a recipe with so many held-out groups trains on are looked at."""
    own_past = set(pool.schema.targets) <= set(pool.schema.channels)
    if pool.schema.kind == "forecasting" and len(pool.input_shape) == 2 and own_past:
        return Body("forecast", "windows in their own units, seasons, what changes from the last value")
    if pool.schema.kind == "anomaly":
        if len(pool.input_shape) == 2 and pool.input_shape[1] > LONGEST_WINDOW:
            return Body("spectral", f"windows of {pool.input_shape[1]} rows are signals")
        return Body("levels", "last value, mean and spread of each channel; or spectral")
    if len(pool.input_shape) == 1:
        return Body("mlp", "single rows; or package.module:callable")
    if len(pool.input_shape) == 3:
        return Body("conv4", "images; or package.module:callable")
    long = pool.input_shape[1] > LONGEST_WINDOW
    if pool.schema.kind == "regression" and pool.input_shape[1] < LONGEST_WINDOW:
        return Body("levels", "the latest row, mean and spread of few rows; or conv1d, gru", {"hidden": [64]})
    # Group norm predicts each window alone, as a device has to; a head reads how a sensor sits, too.
    conv1d = {"filters": 24, "norm": "group", "readout": "blocks"}
    evidence = None
    if pool.schema.kind == "classification" and pool.input_shape[1] >= 8:
        evidence = compare_views(pool, split_tasks(pool, test=held_out).train)
    if evidence is None:
        if long:
            return Body("spectral", f"windows of {pool.input_shape[1]} rows are signals", {"level": True})
        return Body("conv1d", "windows; or mlp, gru, spectral, package.module:callable", conv1d)
    told = ", ".join(f"{view} {100 * value:.0f} %" for view, value in evidence.accuracy.items())
    reason = f"class means of unseen devices, balanced accuracy: {told}"
    if long or evidence.spectral:
        return Body("spectral", reason, {"level": True} if evidence.level else {})
    return Body("conv1d", reason, conv1d)
