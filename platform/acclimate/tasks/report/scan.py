"""One pass over a sample of every task: what its channels, its clock and its targets look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.remote.ranged import Ranged
from acclimate.tasks.pool.windows import read_inputs, read_targets

ROWS = 4000
"""Of a task that are looked at, evenly spaced."""
WINDOWS = 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scan:
    """Figures by task; NaN where a task has no value.

    Attributes:
        quantiles: of each channel, `QUANTILES`, (tasks, channels, 5).
        begins, ends: seconds or the time column's unit, (tasks,); None without a time column.
        step: the usual one between rows, (tasks,).
        uneven: share of steps that are no half to one and a half of the usual one, (tasks,).
        rises: channels that never fall in any task.
    """

    quantiles: Floats
    begins: Floats | None
    ends: Floats | None
    step: Floats | None
    uneven: Floats | None
    rises: tuple[str, ...]


def scan(pool: TaskPool) -> Scan:
    """Look at evenly spaced rows of every task; images have no channels to look at."""
    tasks = range(len(pool.task_ids))
    channels = pool.info.schema.channels if pool.values.ndim == 2 else ()
    quantiles = np.full((len(tasks), len(channels), len(QUANTILES)), np.nan)
    rising = np.ones(len(channels), dtype=bool)
    for task in tasks:
        begin, end = int(pool.rows[task]), int(pool.rows[task + 1])
        rows = np.asarray(pool.values[begin : end : max(1, (end - begin) // ROWS)], dtype=np.float64)
        for at in range(len(channels)):
            known = rows[:, at][~np.isnan(rows[:, at])]
            if len(known):
                quantiles[task, at] = np.quantile(known, QUANTILES)
                steps = np.diff(known)
                rising[at] &= len(steps) == 0 or (
                    bool((steps >= 0).all()) and float((steps > 0).mean()) > 0.1
                )
    rises = tuple(np.array(channels, dtype=object)[rising].tolist())
    if pool.times is None:
        return Scan(quantiles, None, None, None, None, rises)
    clock = np.array([_clock(pool.times, int(pool.rows[task]), int(pool.rows[task + 1])) for task in tasks])
    return Scan(quantiles, clock[:, 0], clock[:, 1], clock[:, 2], clock[:, 3], rises)


def _clock(times: npt.NDArray[Any] | Ranged, begin: int, end: int) -> tuple[float, float, float, float]:
    part = np.asarray(times[begin : min(end, begin + 50 * ROWS)])
    if len(part) == 0:
        return np.nan, np.nan, np.nan, np.nan
    ends = float(np.min(times[begin:end])), float(np.max(times[begin:end]))
    steps = np.diff(part)
    steps = steps[steps > 0]
    if len(steps) == 0:
        return *ends, np.nan, 0.0
    usual = float(np.median(steps))
    return *ends, usual, float(((steps < 0.5 * usual) | (steps > 1.5 * usual)).mean())


@dataclass(frozen=True)
class Answers:
    """Windows in short, with what is to be predicted: a level of each channel in each.

    Attributes:
        levels: the mean and the last value of each channel, (windows, channels, 2).
        answers: class, or the first target, (windows,).
        task: of each window.
    """

    levels: Floats
    answers: Floats
    task: npt.NDArray[np.int64]


def answers(pool: TaskPool) -> Answers | None:
    """Evenly spaced examples of every task; None where a row is an image, or there are no answers."""
    if pool.values.ndim != 2 or (pool.targets is None and not pool.info.labels):
        return None
    levels: list[Floats] = []
    found: list[Floats] = []
    owners = []
    for task in range(len(pool.task_ids)):
        begin, end = int(pool.cells[task * pool.classes]), int(pool.cells[(task + 1) * pool.classes])
        entries = np.arange(begin, end, max(1, (end - begin) // WINDOWS))
        if len(entries) == 0:
            continue
        starts = np.asarray(pool.starts)[entries]
        x = read_inputs(pool, starts, None).astype(np.float64).reshape(len(starts), pool.values.shape[1], -1)
        x = x[:, : len(pool.info.schema.channels)]
        known = ~np.isnan(x)
        mean = np.where(known, x, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        last = np.where(known[..., -1], x[..., -1], mean)
        levels.append(np.asarray(np.stack([mean, last], -1), dtype=np.float64))
        if pool.targets is not None:
            found.append(np.asarray(read_targets(pool, starts, None)[:, 0], dtype=np.float64))
        else:
            cells = np.searchsorted(pool.cells, entries, side="right") - 1 - task * pool.classes
            found.append(cells.astype(np.float64))
        owners.append(np.full(len(starts), task))
    if not levels:
        return None
    return Answers(np.concatenate(levels), np.concatenate(found), np.concatenate(owners))
