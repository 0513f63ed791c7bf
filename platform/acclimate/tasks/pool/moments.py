"""What is measured on training tasks: mean, deviation and bounds of each channel and target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.initialization import Normalization
from acclimate.preprocessing import preparation
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool.remote.ranged import Ranged
from acclimate.tasks.pool.stored import CHUNK_ROWS, StoredPool
from acclimate.tasks.pool.windows import stretches

SAMPLE_ROWS = 200_000
SAMPLE_WINDOWS = 20_000
_TAIL = 0.001
_MARGIN = 10.0
"""Spreads beyond the middle 99.8 % of training's inputs, and so far that no ordinary device gets there."""
_GLITCH = 100.0
"""Spreads beyond which even a value that training holds is out of bounds."""

Floats = npt.NDArray[np.float64]
Chunks = Iterator[npt.NDArray[Any]]


def measured(pool: StoredPool, tasks: Indices) -> Normalization:
    """The normalization of `TaskPool.normalization`."""
    if pool.values.dtype.kind != "f" or pool.values.ndim > 2:
        mean, scale, _ = _moments(_rows(pool, pool.values, tasks))
        plain = Normalization(tuple(mean.tolist()), tuple(scale.tolist()))
    else:
        plain = _of_channels(pool, tasks)
    if pool.targets is None:
        return plain
    mean, scale, _ = _moments(_rows(pool, pool.targets, tasks))
    schema = pool.info.schema
    for at, target in enumerate(schema.targets if schema.kind == "forecasting" else ()):
        if target in schema.channels and target not in schema.relative:
            channel = schema.channels.index(target)  # of its own, or "no change" would be a change
            mean[at] = plain.mean[channel] + (plain.offset[channel] if plain.offset else 0.0)
            scale[at] = plain.scale[channel]
    return replace(plain, target_mean=tuple(mean.tolist()), target_scale=tuple(scale.tolist()))


def _of_channels(pool: StoredPool, tasks: Indices) -> Normalization:
    channels = pool.schema.channels
    of_calendar = np.arange(len(channels)) >= len(pool.info.schema.channels)
    nothing = Normalization((0.0,) * len(channels), (1.0,) * len(channels))
    if pool.values.dtype == np.float64:
        middle, _, _ = _moments(_rows(pool, pool.values, tasks))
        relative = np.isin(channels, pool.info.schema.relative)
        nothing = replace(nothing, offset=tuple(np.where(relative | of_calendar, 0.0, middle).tolist()))
    low, high = _bounds(np.concatenate(list(_sampled(pool, tasks, nothing))))
    bounded = replace(nothing, low=tuple(low.tolist()), high=tuple(high.tolist()))
    mean, scale, moved = _moments(_prepared(pool, tasks, bounded))
    mean[of_calendar], scale[of_calendar], moved[of_calendar] = 0.0, 1.0, True  # -1 to 1 as they are
    still = tuple(name for name, one in zip(channels, moved.tolist(), strict=True) if not one)
    return replace(bounded, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()), still=still)


def _prepared(pool: StoredPool, tasks: Indices, so_far: Normalization) -> Chunks:
    """Every row with its bounds kept; of counters only windows say anything, and a sample of them does."""
    if pool.info.schema.relative:
        yield from _sampled_windows(pool, tasks, so_far)
        return
    steps = preparation(replace(pool.schema, missing="error"), so_far, axes=1)
    for chunk in _rows(pool, pool.values, tasks):
        yield steps.clamp(steps.repair(chunk))


def _sampled(pool: StoredPool, tasks: Indices, so_far: Normalization) -> Chunks:
    """Evenly spaced rows (rows, channels) of all tasks, for quantiles."""
    if pool.info.schema.relative:
        yield from (
            np.moveaxis(one, 1, 2).reshape(-1, one.shape[1]) for one in _sampled_windows(pool, tasks, so_far)
        )
        return
    total = int(sum(pool.rows[task + 1] - pool.rows[task] for task in tasks))
    steps = preparation(replace(pool.schema, missing="error"), so_far, axes=1)
    for task in tasks:
        yield steps.repair(
            pool.values[int(pool.rows[task]) : int(pool.rows[task + 1]) : -(-total // SAMPLE_ROWS)]
        )


def _sampled_windows(pool: StoredPool, tasks: Indices, so_far: Normalization) -> Chunks:
    """Evenly spaced examples (n, channels, time), prepared as far as it is known how."""
    windows = stretches(pool, pool.info.schema.window)
    steps = preparation(pool.schema, so_far, axes=2)
    total = sum(pool.examples_of(int(task)) for task in tasks)
    for task in tasks:
        begin, end = pool.cells[task * pool.classes], pool.cells[(task + 1) * pool.classes]
        starts = pool.starts[begin : end : max(1, -(-total // SAMPLE_WINDOWS))]
        if len(starts):
            yield steps.clamp(steps.repair(windows(starts)))


def _rows(pool: StoredPool, array: npt.NDArray[Any] | Ranged, tasks: Indices) -> Chunks:
    for task in tasks:
        for begin in range(int(pool.rows[task]), int(pool.rows[task + 1]), CHUNK_ROWS):
            yield array[begin : min(begin + CHUNK_ROWS, int(pool.rows[task + 1]))]


def _bounds(sample: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Far outside the middle of a sample (rows, channels); what it holds is inside unless it is absurd."""
    low, high = np.empty(sample.shape[1]), np.empty(sample.shape[1])
    for channel, column in enumerate(sample.T.astype(np.float64)):
        known = column[~np.isnan(column)]
        if len(known) == 0:
            known = np.zeros(1)
        first, last = np.quantile(known, [_TAIL, 1 - _TAIL])
        spread = (last - first) or np.ptp(known) or max(abs(first), 1.0)
        bottom, top = known.min(), known.max()
        low[channel] = min(first - _MARGIN * spread, bottom if bottom >= first - _GLITCH * spread else np.inf)
        high[channel] = max(last + _MARGIN * spread, top if top <= last + _GLITCH * spread else -np.inf)
    return low, high


def _moments(chunks: Chunks) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Mean and deviation of each channel in one pass (Chan et al., 1979), and whether it moved."""
    count = mean = squares = np.zeros(0)
    for chunk in chunks:
        channels = chunk.shape[1]
        if len(mean) == 0:
            count, mean, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
        wide = chunk.astype(np.float64).reshape(len(chunk), channels, -1)
        present = ~np.isnan(wide)
        n = present.sum(axis=(0, 2)).astype(np.float64)
        chunk_mean = np.where(present, wide, 0).sum(axis=(0, 2)) / np.maximum(n, 1)
        deviation = np.where(present, wide - chunk_mean[:, None], 0)
        total = np.maximum(count + n, 1)
        delta = chunk_mean - mean
        squares = squares + (deviation**2).sum(axis=(0, 2)) + np.where(n > 0, delta**2 * count * n / total, 0)
        mean = mean + np.where(n > 0, delta * n / total, 0)
        count = count + n
    scale = np.sqrt(squares / np.maximum(count, 1))
    moved = (scale > 1e-12 * np.abs(mean)) & (scale > 0)
    return mean, np.where(moved, scale, 1.0), moved
