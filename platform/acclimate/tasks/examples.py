"""Put one task's rows in order and cut its examples: plain array functions, no files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from acclimate.tasks.recordings import RecordingSchema

Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def row_order(times: Times | None, recordings: Integers | None) -> Integers | None:
    """The permutation that sorts rows by recording and time; None if they are in order already.

    Recordings follow each other by their first time, and by first appearance where that is equal or unknown.
    """
    if recordings is None:
        if times is None or bool((np.diff(times) >= 0).all()):
            return None
        return np.argsort(times, kind="stable")
    rank = _recording_rank(times, recordings)
    within = times if times is not None else np.zeros(len(rank))
    order = np.lexsort((np.arange(len(rank)), within, rank))
    return None if bool((np.diff(order) == 1).all()) else order


def _recording_rank(times: Times | None, recordings: Integers) -> Integers:
    _, first, inverse = np.unique(recordings, return_index=True, return_inverse=True)
    begin = np.zeros(len(first))
    if times is not None:
        begin = np.full(len(first), np.inf)
        np.minimum.at(begin, inverse, times)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.lexsort((first, begin))] = np.arange(len(first))
    return rank[inverse]


def breaks(
    rows: int,
    times: Times | None,
    recordings: Integers | None,
    labels: Integers | None,
    max_gap: float | None,
) -> Mask:
    """Which rows begin a stretch that no window may cross into, (rows,)."""
    begins = np.zeros(rows, dtype=bool)
    begins[:1] = True
    for column in (recordings, labels):
        if column is not None:
            begins[1:] |= np.diff(column) != 0
    if times is not None and max_gap is not None:
        begins[1:] |= np.diff(times) > max_gap
    return begins


def hold_last(values: Floats, begins: Mask) -> Floats:
    """Replace each NaN by the channel's last value in the same stretch; leading ones stay NaN."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    stretch = np.maximum.accumulate(np.where(begins, rows[:, 0], 0))
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= stretch[:, None], held, np.float32(np.nan))


def fill_by_season(values: Floats, begins: Mask, seasons: tuple[int, ...]) -> Floats:
    """Replace each NaN by what the channel had one season before in the same stretch, by the longest season
    that has a value there, and else by its last value; leading ones stay NaN."""
    filled = values.copy()
    stretch = np.maximum.accumulate(np.where(begins, np.arange(len(values)), 0))
    for row in np.flatnonzero(np.isnan(values).any(axis=1)):
        for before in (row - season for season in (*sorted(seasons, reverse=True), 1)):
            if before >= stretch[row]:
                filled[row] = np.where(np.isnan(filled[row]), filled[before], filled[row])
    return filled


def forecast_starts(begins: Mask, inputs: Mask, targets: Mask, schema: RecordingSchema) -> Integers:
    """First rows of all examples of a forecast: every `stride` rows of each stretch, where the rows that its
    input takes are usable as inputs, and those that it forecasts as targets."""
    starts = example_starts(begins, np.ones(len(begins), dtype=bool), schema.span, schema.step)
    lags = np.array(schema.lags or range(schema.window - 1, -1, -1))
    latest = starts + schema.history - 1
    whole = np.ones(len(starts), dtype=bool)
    for lag in lags:
        whole &= inputs[latest - lag]
    for lead in schema.steps_ahead:
        whole &= targets[latest + lead]
    return starts[whole]


def example_starts(begins: Mask, usable: Mask, span: int, stride: int) -> Integers:
    """First rows of all examples: every `stride` rows of each stretch, touching usable rows only."""
    if len(begins) == 0:
        return np.empty(0, dtype=np.int64)
    begins = begins | (usable != np.concatenate([[True], usable[:-1]]))
    first = np.flatnonzero(begins)
    length = np.diff(np.append(first, len(begins)))
    count = np.where(usable[first], np.maximum(0, (length - span) // stride + 1), 0)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return (np.repeat(first, count) + offset * stride).astype(np.int64)
