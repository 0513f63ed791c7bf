"""Read examples of a pool as normalized arrays: windows of its rows, and their real targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acclimate.initialization import Normalization
from acclimate.tasks.episodes import Indices

if TYPE_CHECKING:
    from acclimate.tasks.pool import TaskPool

Floats = npt.NDArray[np.float32]


def read_inputs(pool: TaskPool, starts: Indices, normalization: Normalization | None) -> Floats:
    """The inputs of the examples that start at `starts`, (*starts.shape, *input_shape)."""
    if pool.info.schema.lags:
        return _read_lags(pool, starts, normalization)
    window = pool.info.schema.window
    # A view with the time axis last and one task at a time in the processor's cache: five times as fast as
    # gathering all rows of a meta-batch and transposing them.
    values = (
        pool.values if window == 1 else np.lib.stride_tricks.sliding_window_view(pool.values, window, axis=0)
    )
    x = np.empty((*starts.shape, *pool.input_shape), dtype=np.float32)
    for task in np.ndindex(starts.shape[:-1]):
        x[task] = values[starts[task]]
        if normalization is not None:
            mean, scale = _broadcastable(normalization.mean, normalization.scale, len(pool.input_shape) - 1)
            x[task] -= mean
            x[task] *= scale
    return x


def read_targets(pool: TaskPool, starts: Indices, normalization: Normalization | None) -> Floats:
    """Real targets, (*starts.shape, outputs): of the window's last row, or of the forecast rows after it.

    A forecast's outputs run step by step: all targets of the first lead, then all of the second, and so on.
    """
    assert pool.targets is not None
    schema = pool.info.schema
    ahead = schema.history - 1 + np.array(schema.steps_ahead or (0,))
    y = pool.targets[starts[..., None] + ahead]
    if normalization is not None:
        mean, scale = _broadcastable(normalization.target_mean, normalization.target_scale, 0)
        y = (y - mean) * scale
    return y.reshape(*starts.shape, -1)


def _read_lags(pool: TaskPool, starts: Indices, normalization: Normalization | None) -> Floats:
    latest = pool.info.schema.lags[0]
    offsets = latest - np.array(pool.info.schema.lags)
    x = np.empty((*starts.shape, *pool.input_shape), dtype=np.float32)
    for task in np.ndindex(starts.shape[:-1]):
        x[task] = pool.values[starts[task][..., None] + offsets].swapaxes(-1, -2)
        if normalization is not None:
            mean, scale = _broadcastable(normalization.mean, normalization.scale, 1)
            x[task] -= mean
            x[task] *= scale
    return x


def _broadcastable(mean: tuple[float, ...], scale: tuple[float, ...], axes: int) -> tuple[Floats, Floats]:
    shape = (-1,) + (1,) * axes
    return (
        np.array(mean, dtype=np.float32).reshape(shape),
        np.array([1 / value for value in scale], dtype=np.float32).reshape(shape),
    )
