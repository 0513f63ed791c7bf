"""Put one task's rows in order and cut its examples: plain array functions, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from acclimate.tasks.recordings import RecordingSchema

Values = npt.NDArray[Any]
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


def hold_last(values: Values, begins: Mask) -> Values:
    """Replace each NaN by the channel's last value in the same stretch; leading ones stay NaN."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    stretch = np.maximum.accumulate(np.where(begins, rows[:, 0], 0))
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= stretch[:, None], held, values.dtype.type(np.nan))


def fill_by_season(values: Values, begins: Mask, seasons: tuple[int, ...]) -> Values:
    """Replace each NaN by what the channel had one season before in the same stretch, by the longest season
    that has a value there, and else by its last value; leading ones stay NaN."""
    filled = values.copy()
    stretch = np.maximum.accumulate(np.where(begins, np.arange(len(values)), 0))
    for row in np.flatnonzero(np.isnan(values).any(axis=1)):
        for before in (row - season for season in (*sorted(seasons, reverse=True), 1)):
            if before >= stretch[row]:
                filled[row] = np.where(np.isnan(filled[row]), filled[before], filled[row])
    return filled


def lagged(starts: Integers, usable: Mask, schema: RecordingSchema) -> Integers:
    """Of first rows of a forecast by lags, those whose every lag is a usable row."""
    latest = starts + schema.history - 1
    whole = np.ones(len(starts), dtype=bool)
    for lag in schema.lags:
        whole &= usable[latest - lag]
    return starts[whole]


def example_starts(begins: Mask, usable: Mask, window: int, span: int, stride: int) -> Integers:
    """First rows of windows: every `stride` rows of each run of usable rows.

    The `window` rows are usable and the whole `span`, forecast included, lies in one stretch.
    """
    if len(begins) == 0:
        return np.empty(0, dtype=np.int64)
    stretches = np.append(np.flatnonzero(begins), len(begins))
    first = np.flatnonzero(begins | (usable != np.concatenate([[True], usable[:-1]])))
    last = np.append(first[1:], len(begins))
    end = stretches[np.searchsorted(stretches, first, side="right")]
    room = np.minimum(last - first - window, end - first - span)
    count = np.where(usable[first], np.maximum(0, room // stride + 1), 0)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return (np.repeat(first, count) + offset * stride).astype(np.int64)


def known_in_window(absent: npt.NDArray[np.bool_], starts: Integers, window: int) -> Mask:
    """Which windows hold at least one value of every channel; `absent` is (rows, channels)."""
    seen = np.concatenate([np.zeros((1, absent.shape[1]), np.int64), np.cumsum(~absent, axis=0)])
    return np.asarray((seen[starts + window] > seen[starts]).all(axis=1))


def carried(labels: Integers) -> Integers:
    """Labels in which a row without one (-1) has that of the last row with one, at the start the next."""
    known = np.flatnonzero(labels >= 0)
    if len(known) == 0:
        return labels
    return np.asarray(labels)[
        known[np.maximum(0, np.searchsorted(known, np.arange(len(labels)), "right") - 1)]
    ]


def repeats(times: Times | None, recordings: Integers | None, others: Sequence[Values]) -> tuple[Mask, Mask]:
    """Of ordered rows: which have the time of the row before, and which are equal to it in all else too."""
    rows = len(others[0])
    if times is None:
        return np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    same = np.concatenate([[False], np.diff(times) == 0]) if rows else np.zeros(0, dtype=bool)
    if recordings is not None and rows:
        same[1:] &= np.diff(recordings) == 0
    whole = same.copy()
    for column in others:
        flat = column.reshape(rows, -1)
        equal = (flat[1:] == flat[:-1]) | ((flat[1:] != flat[1:]) & (flat[:-1] != flat[:-1]))
        whole[1:] &= equal.all(axis=1)
    return same, whole
