"""What a series to be forecast says of itself: its seasons, and from them the keys of a declaration.

A season is a lag at which the series is like itself again, and less so in between: a peak of its
autocorrelation (Box and Jenkins 1970). A peak at a day of the clock is preferred to any other, and seven of a
short season are looked at, for a week is often no peak of its own beside the day's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.tasks.lags import rows_of

Floats = npt.NDArray[np.float64]

LATEST = 24  # rows that are taken whole
SERIES = 50  # looked at, at most
PART = 6  # of a series at most is looked back to: a longer season would leave too little to learn from
MOST_LEADS = 48
SPREAD_LEADS = 24  # of a longer horizon
EXAMPLES = 20_000  # of a task at most; more rows are passed over
_VALLEY = 0.15  # a peak stands so far above the lowest point before it
_PEAK = 0.1
_DAY_S, _WEEK_S = 86_400.0, 604_800.0


def find_seasons(series: Sequence[Floats], row_s: float | None) -> list[tuple[int, str]]:
    """Rows of the seasons that series have in common, shortest first, with the reason for each.

    Args:
        series: of several devices; NaN is a gap.
        row_s: seconds between two rows, where it is known.
    """
    lengths = [len(one) for one in series]
    if not lengths:
        return []
    most = int(np.median(lengths)) // PART
    if most < 4:
        return []
    measured = [autocorrelation(one, most + 1) for one in series[:SERIES] if len(one) > most + 1]
    known = [one for one in measured if np.isfinite(one).all()]
    if not known:
        return []
    along = np.median(known, axis=0)
    short = _short_season(along, row_s)
    if short is None:
        return []
    name = _called(short, row_s)
    found = [(short, f"{name}: correlation {along[short]:.2f}, {along[1:short].min():.2f} in between")]
    week = 7 * short
    if week <= most and along[week] > along[week - short // 2] + _VALLEY / 2:
        found.append((week, f"{_called(week, row_s)}: correlation {along[week]:.2f}"))
    return found


def autocorrelation(series: Floats, lags: int) -> Floats:
    """Correlation of a series with itself at lags 0 to `lags` - 1; gaps count as its mean, a trend is taken
    off."""
    rows = np.arange(len(series))
    known = np.isfinite(series)
    if known.sum() < 8 or np.ptp(series[known]) == 0:
        return np.full(lags, np.nan)
    level = np.polyval(np.polyfit(rows[known], series[known], 1), rows)
    rest = np.where(known, series - level, 0.0)
    size = 1 << (2 * len(rest) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(rest, size)) ** 2
    along = np.fft.irfft(spectrum, size)[:lags]
    pairs = np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2, size)[:lags]
    mean: Floats = along / np.maximum(pairs, 1.0)
    return mean / mean[0] if mean[0] > 0 else np.full(lags, np.nan)


def forecast_entries(
    declared: Mapping[str, Any],
    given: Mapping[str, Any],
    series: Sequence[Floats],
    span_s: float | None,
) -> Iterator[tuple[str, Any, str]]:
    """Entries of a forecast's declaration, with their reasons.

    Args:
        declared: what was found so far.
        given: what a person said.
        series: of the target, a device each.
        span_s: seconds that the fleet was recorded over, where time tells.
    """
    rate = declared.get("sample_rate_hz")
    seasons = find_seasons(series, 1.0 / rate if rate else None)
    rows = int(np.median([len(one) for one in series]))
    window = declared["window"]
    if "window" not in given:
        window = max(2, min(LATEST, rows // 10))
        yield "window", window, "the latest rows; the seasons look further back"
    if seasons:
        yield "seasons", [length for length, _ in seasons], "; ".join(why for _, why in seasons)
    else:
        shown = f"no peak of the autocorrelation within {rows // PART} rows, a {PART}th of a device's"
        yield "seasons", [], shown
    if "horizon" not in given:
        horizon = min(seasons[0][0] if seasons else max(1, int(window) // 4), MOST_LEADS)
        yield (
            "horizon",
            horizon,
            "rows ahead: a season" if seasons else "rows ahead: a quarter of the window",
        )
    else:
        horizon = rows_of("horizon", given["horizon"], rate)
    if horizon > MOST_LEADS:
        leads = np.unique(np.linspace(horizon / SPREAD_LEADS, horizon, SPREAD_LEADS).round().astype(int))
        yield "leads", leads.tolist(), f"of {horizon} rows ahead, {len(leads)}; the last is the horizon"
    yield "stride", max(1, rows // EXAMPLES), "a forecast can be made after every row"
    cycles = _cycles(declared, span_s, rate)
    if cycles:
        yield "calendar", cycles, "the clock and the weekday of each forecast are inputs too"
    if "max_gap" in declared and seasons:
        yield "max_gap", None, "the season runs across the pauses"
    if seasons:
        yield "missing", "season", "a gap takes the value of one season before, else the last"
    elif any(np.isnan(one).any() for one in series):
        yield "missing", "hold", "a gap takes the last value"


def _short_season(along: Floats, row_s: float | None) -> int | None:
    day = round(_DAY_S / row_s) if row_s else 0
    if 4 <= day < len(along) - 2:
        near = day - 1 + int(along[day - 1 : day + 2].argmax())
        if along[near] > _PEAK and along[near] - along[1:near].min() > _VALLEY:
            return day
    peaks = [
        lag
        for lag in range(3, len(along) - 1)
        if along[lag - 1] < along[lag] >= along[lag + 1]
        and along[lag] > _PEAK
        and along[lag] - along[1:lag].min() > _VALLEY
    ]
    if not peaks:
        return None
    highest = max(along[lag] for lag in peaks)
    return next(lag for lag in peaks if along[lag] >= 0.5 * highest)


def _cycles(declared: Mapping[str, Any], span_s: float | None, rate: float | None) -> list[str]:
    """Cycles that the recordings hold at least two of, and are finer than."""
    if span_s is None or "time" not in declared:
        return []
    row_s = 1.0 / rate if rate else span_s
    cycles = [("day", _DAY_S), ("week", _WEEK_S), ("year", 2 * 365.25 * _DAY_S)]
    return [name for name, length in cycles if row_s <= length / 4 and span_s >= 2 * length]


def _called(season: int, row_s: float | None) -> str:
    for name, length in (("a day", _DAY_S), ("a week", _WEEK_S)):
        if row_s and abs(season * row_s / length - 1) < 0.01:
            return f"{name} is {season} rows"
    return f"{season} rows"
