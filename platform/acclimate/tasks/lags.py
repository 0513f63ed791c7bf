"""Which rows of the past a forecast looks at, and lengths of time as rows.

A forecast sees the latest rows and, for each step ahead, what was one and two seasons before it: a week of
hours takes 60 numbers in place of 337.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from acclimate.errors import DataError

_UNITS_S = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPELLED = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "w"}
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def input_lags(window: int, seasons: Sequence[int], leads: Sequence[int]) -> tuple[int, ...]:
    """Rows before the latest that an input takes, oldest first; the latest row itself is lag 0.

    Args:
        window: latest rows, all taken.
        seasons: rows of a season, such as a day and a week. Of each, the rows one season before every lead
            and beside it are taken; of the shortest, those two seasons before it too; of the longest, the row
            one season before the latest.
        leads: rows ahead that are forecast.
    """
    lags = set(range(window))
    for season in seasons:
        for lead in leads:
            whole = -(-lead // season) * season  # the season before a lead further than one is none we know
            lags |= {whole - lead + beside for beside in (-1, 0, 1)}
            if season == min(seasons):
                lags.add(whole + season - lead)
    lags |= {max(seasons)} if seasons else set()
    return tuple(sorted((lag for lag in lags if lag >= 0), reverse=True))


def rows_of(name: str, length: int | str, sample_rate_hz: float | None) -> int:
    """A length in rows, given in rows or in time such as `24h`, `30min`, `1d` or `2 weeks`.

    Raises:
        DataError: not a length of time, less than half a row, or the sampling rate is not known.
    """
    if isinstance(length, int):
        return length
    found = _LENGTH.fullmatch(length.lower())
    unit = found and _SPELLED.get(found[2].removesuffix("s"), found[2])
    if found is None or unit not in _UNITS_S:
        raise DataError(f"{name} is {length!r}: give rows, or a length of time such as 24h, 30min, 1d or 1w")
    if sample_rate_hz is None:
        raise DataError(
            f"{name} is {length!r}, but how long a row lasts is not known: set `sample_rate_hz`, or give rows"
        )
    rows = round(float(found[1]) * _UNITS_S[unit] * sample_rate_hz)
    if rows < 1:
        raise DataError(f"{name} is {length!r}, less than a row at {sample_rate_hz:g} rows a second")
    return rows
