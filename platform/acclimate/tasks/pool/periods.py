"""Parts of the timeline: what is trained on, what is held out for choosing, what judges.

Devices of one place share their weather and their holidays, so a device that is held out over the same days
is half known: what chooses the length of training for forecasts is held out in devices and in time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool import TaskPool

Period = Literal["all", "fitted", "held"]
"""Of the training time: all of it, or what is left of it beside every fifth block, or those blocks."""

Mask = npt.NDArray[np.bool_]
BLOCKS, EVERY, FIRST = 20, 5, 2


def restricted(pool: TaskPool, until: float, period: Period = "all") -> TaskPool:
    """The pool with the examples of a period before a share of its timeline, and no others.

    Args:
        until: share of the time from the first row of the fleet to the last, or of a task's rows where no
            column tells the time; 1 keeps everything.
        period: of that time; blocks are a twentieth of it.

    Raises:
        DataError: `until` is no share, or no example is left.
    """
    if not 0 < until <= 1:
        raise DataError(f"until is {until}: give a share of the timeline above 0 and at most 1")
    if until == 1 and period == "all":
        return pool
    begins, ends = _positions(pool)
    block = np.minimum((begins / until * BLOCKS).astype(np.int64), BLOCKS - 1)
    kept = ends <= until
    if period != "all":
        # By the first answer: a horizon may be as long as a block, and then no example lies in one whole.
        kept &= (block % EVERY == FIRST) == (period == "held")
    if not kept.any():
        raise DataError(
            f"no example lies in the {period if period != 'all' else 'first'} part of the time before "
            f"{until:g} of it: raise `data.until`, or shorten `window`, `seasons` or `horizon`"
        )
    return _keeping(pool, kept)


def days_of(data: object, tasks: Indices) -> float | None:
    """Days of recordings that one of these tasks has, the median; None where no clock tells."""
    if not isinstance(data, TaskPool):
        return None
    rows = [slice(data.rows[task], data.rows[task + 1]) for task in tasks.tolist()]
    schema = data.info.schema
    if data.times is not None and data.info.dated:
        spans = [float(np.ptp(data.times[each])) for each in rows if each.stop > each.start]
    elif schema.sample_rate_hz:
        spans = [(each.stop - each.start) / schema.sample_rate_hz for each in rows]
    else:
        return None
    return float(np.median(spans)) / 86_400 if spans else None


def _positions(pool: TaskPool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where on the timeline, 0 to 1, the first and the last answer of each example lie, (examples,) each."""
    schema = pool.info.schema
    starts = np.asarray(pool.starts)
    first = starts + schema.history - 1 + (1 if schema.horizon else 0)
    last = starts + schema.span - 1
    if pool.times is not None:
        times = np.asarray(pool.times)
        begin, end = float(times.min()), float(times.max())
        length = max(end - begin, np.finfo(np.float64).tiny)
        return (times[first] - begin) / length, (times[last] - begin) / length
    task = np.searchsorted(pool.rows, starts, side="right") - 1
    rows = np.maximum(np.diff(pool.rows)[task] - 1, 1)
    return (first - pool.rows[task]) / rows, (last - pool.rows[task]) / rows


def _keeping(pool: TaskPool, kept: Mask) -> TaskPool:
    before = np.concatenate([[0], np.cumsum(kept)])
    return replace(pool, starts=np.asarray(pool.starts)[kept], cells=before[pool.cells], path=None)
