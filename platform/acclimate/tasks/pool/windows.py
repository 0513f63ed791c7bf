"""Read examples of a pool as normalized arrays: windows of its rows, and their real targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.initialization import Normalization
from acclimate.preprocessing import preparation
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool.remote.ranged import fetched
from acclimate.tasks.pool.stored import StoredPool

Floats = npt.NDArray[np.float32]


def read_inputs(pool: StoredPool, starts: Indices, normalization: Normalization | None) -> Floats:
    """The inputs of the examples that start at `starts`, (*starts.shape, *input_shape), as a device has them.

    Without a normalization they are as recorded: gaps are NaN, float64 where the pool is.
    """
    schema = pool.info.schema
    fetched(pool.values, starts, starts + schema.history - 1)
    raw_inputs = _inputs(pool)
    exact = normalization is None and pool.values.dtype == np.float64
    x = np.empty((*starts.shape, *pool.input_shape), dtype=np.float64 if exact else np.float32)
    steps = None if normalization is None else preparation(pool.schema, normalization, len(pool.input_shape))
    for task in np.ndindex(starts.shape[:-1]):
        raw = raw_inputs(starts[task])
        x[task] = raw if steps is None else steps.normalize(steps.clamp(steps.repair(raw)))
    return x


def stretches(pool: StoredPool, length: int) -> Callable[[Indices], npt.NDArray[Any]]:
    """Reads the `length` rows from each of some rows on, as recorded: (n, channels, length)."""
    if isinstance(pool.values, np.ndarray):
        # A view with the time axis last, of which one task at a time is in the processor's cache: five times
        # as fast as gathering all rows of a meta-batch and transposing them.
        view = np.lib.stride_tricks.sliding_window_view(pool.values, length, axis=0)
        return view.__getitem__
    return lambda starts: pool.values[starts[..., None] + np.arange(length)].swapaxes(-1, -2)


def _inputs(pool: StoredPool) -> Callable[[Indices], npt.NDArray[Any]]:
    """Reads the examples that start at some rows, as recorded: (n, *input_shape)."""
    schema = pool.info.schema
    if schema.history == 1:
        return pool.values.__getitem__
    if schema.lags:  # few of a long history: gathered one by one, not cut out of it
        taken = schema.history - 1 - np.array(schema.lags)
        return lambda starts: pool.values[starts[..., None] + taken].swapaxes(-1, -2)
    return stretches(pool, schema.history)


def read_targets(pool: StoredPool, starts: Indices, normalization: Normalization | None) -> Floats:
    """Real targets, (*starts.shape, outputs): of the window's last row, or of the forecast rows after it.

    A forecast's outputs run step by step: all targets of the first lead, then all of the second, and so on.
    """
    assert pool.targets is not None
    schema = pool.info.schema
    ahead = schema.history - 1 + np.array(schema.steps_ahead or (0,))
    fetched(pool.targets, starts + ahead.min(), starts + ahead.max())
    y = pool.targets[starts[..., None] + ahead]
    if normalization is not None:
        mean, scale = _broadcastable(normalization.target_mean, normalization.target_scale, 0)
        y = (y - mean) * scale
    return y.reshape(*starts.shape, -1)


def _broadcastable(mean: tuple[float, ...], scale: tuple[float, ...], axes: int) -> tuple[Floats, Floats]:
    shape = (-1,) + (1,) * axes
    return (
        np.array(mean, dtype=np.float32).reshape(shape),
        np.array([1 / value for value in scale], dtype=np.float32).reshape(shape),
    )
