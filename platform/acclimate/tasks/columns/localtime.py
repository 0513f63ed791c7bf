"""Local time at the ends of summer time: an hour comes twice, or is left out.

The order of the rows tells the two hours apart. Where a zone is declared, times become UTC; where none is,
the clock is made to run on, so that no two moments share a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError

if TYPE_CHECKING:  # every worker would load it, and few recordings are in local time
    import pandas as pd

Seconds = npt.NDArray[np.float64]
_HOUR_S, _DAY_S = 3600.0, 86_400.0
_MONTHS = (3, 4, 5, 9, 10, 11)  # in which summer time ends somewhere


def run_on(times: Seconds) -> tuple[Seconds, int]:
    """Local times in the order of their rows as a clock that never goes back, and the rows that were moved.

    Times that are out of order otherwise come back as they are.
    """
    steps = np.diff(times)
    forward = steps[steps > 0]
    if len(forward) == 0 or (steps > 0).all():
        return times, 0
    usual = float(np.median(forward))
    since = steps + _HOUR_S  # what passed, had the clock not been put back
    turned_back = (steps <= 0) & (since > 0) & (since <= max(3 * usual, _HOUR_S / 4))
    turned_back &= _may_end_summer(times[1:])
    if not turned_back.any() or not (turned_back | (steps >= 0)).all():
        return times, 0
    ahead = (np.abs(steps - _HOUR_S - usual) <= 0.5 * usual) & _is_sunday_night(times[1:]) & (usual < _HOUR_S)
    shift = np.zeros(len(times))
    now = 0.0
    for index in np.flatnonzero(turned_back | ahead).tolist():
        now = now + _HOUR_S if turned_back[index] else max(0.0, now - _HOUR_S)
        shift[index + 1 :] = now
    return times + shift, int(np.count_nonzero(shift))


def repeats_an_hour(ordered: Seconds) -> bool:
    """Whether sorted local times hold every moment of one night's hour twice, and nothing else twice."""
    again = ordered[1:][np.diff(ordered) == 0]
    if len(again) < 2 or not _may_end_summer(again).all():
        return False
    nights = np.floor(again / _DAY_S)
    return all(np.ptp(again[nights == night]) < _HOUR_S for night in np.unique(nights)) and bool(
        len(again) * float(np.median(np.diff(np.unique(ordered)))) >= 0.9 * _HOUR_S * len(np.unique(nights))
    )


def to_utc(times: Seconds, zone: str, task: str) -> Seconds:
    """Local times of a zone as UTC; an hour that comes twice is told apart by the order of the rows.

    Raises:
        DataError: a time never was on that zone's clock, or stands in an hour that comes twice and neither
            the rows before nor those after tell which.
    """
    import pandas as pd

    local = pd.DatetimeIndex((times * 1e6).round().astype("datetime64[us]"))
    try:
        found = local.tz_localize(zone, ambiguous="NaT", nonexistent="raise")
        summer = local.tz_localize(zone, ambiguous=np.ones(len(local), dtype=bool), nonexistent="raise")
        winter = local.tz_localize(zone, ambiguous=np.zeros(len(local), dtype=bool), nonexistent="raise")
    except ValueError as error:
        raise DataError(
            f"task {task!r}: {error} on the clocks of {zone}: correct `time_zone`, or write times in UTC"
        ) from error
    open_ = np.asarray(found.isna())
    early, late = _utc_seconds(summer), _utc_seconds(winter)
    result = early.copy()
    for first, last in _stretches(open_):
        result[first:last] = _told_apart(times, early, late, first, last, task, zone)
    return result


def _told_apart(
    times: Seconds, early: Seconds, late: Seconds, first: int, last: int, task: str, zone: str
) -> Seconds:
    back = np.flatnonzero(np.diff(times[first:last]) <= 0)
    if len(back) == 1:
        return np.concatenate([early[first : first + back[0] + 1], late[first + back[0] + 1 : last]])
    if len(back) == 0 and first > 0 and 0 < early[first] - early[first - 1] < _HOUR_S:
        return early[first:last]
    if len(back) == 0 and last < len(times) and 0 < early[last] - late[last - 1] < _HOUR_S:
        return late[first:last]
    moment = str(np.datetime64(round(times[first]), "s")).replace("T", " ")
    raise DataError(
        f"task {task!r}: the hour of {moment} comes twice on the clocks of {zone}, and the order of the "
        "rows does not tell which is meant: write times in UTC"
    )


def _stretches(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _utc_seconds(index: pd.DatetimeIndex) -> Seconds:
    return (
        np.asarray(index.tz_convert("UTC").tz_localize(None).astype("datetime64[us]").astype("int64")) / 1e6
    )


def _is_sunday_night(times: Seconds) -> npt.NDArray[np.bool_]:
    """Between midnight and four on a Sunday; 1970-01-01 was a Thursday."""
    result: npt.NDArray[np.bool_] = (np.floor(times / _DAY_S) % 7 == 3) & (times % _DAY_S < 4 * _HOUR_S)
    return result


def _may_end_summer(times: Seconds) -> npt.NDArray[np.bool_]:
    months = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    return _is_sunday_night(times) & np.isin(months, _MONTHS)
