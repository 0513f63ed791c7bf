"""Values and names that look like the mistakes of loggers and typists: sentinels, unset clocks, spellings."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acclimate.tasks.pool import TaskPool
from acclimate.tasks.report.findings import Finding, names

ROWS = 2000
"""Of a task that are looked at, evenly spaced."""
SENTINELS = (
    -1e6,
    32767,
    -32768,
    65535,
    2147483647,
    -2147483648,
    4294967295,
    9.96921e36,
)
"""What instruments and archives write where they measured nothing, besides nines such as -99 and 9999.9."""
_BEYOND = tuple(10.0**exponent for exponent in range(20, 39))
"""Powers of ten, of either sign, that nothing measures."""
_NINES = re.compile(r"-99+([.]9+)?|9999+|999+[.]9+|99[.]99+")
_MOST = 4
"""Such values of one column, on either side of it, that are looked for."""
FAR = 5.0
"""Times the spread of all other values that a sentinel lies away from them."""
_TOTAL = re.compile(
    r"\W*((grand|overall|sub)\W*)?(totals?|sum|average|avg|mean|median|minimum|min|maximum|max|count|std)\W*"
)
"""What lines are called that sum up a table: nothing else is in the name, as in that of a device."""
LINES = 2
"""Rows of such a name, at most; a device that is called so has more."""
FEW = 0.1
"""Of the rows of a usual device, up to which one that is called so is such a line."""
OFF_S = 366 * 86_400.0
"""From the middle of a device's time, beyond which a row's clock seems wrong, if few rows are so far."""


def oddities(pool: TaskPool) -> Iterator[Finding]:
    """Findings about single values, moments and names."""
    yield from _sentinels(pool)
    yield from _unset_clocks(pool)
    yield from _totals(pool)
    yield from _spellings("device(s)", pool.task_ids)
    yield from _spellings("label(s)", pool.info.labels)


def _sentinels(pool: TaskPool) -> Iterator[Finding]:
    if pool.values.ndim != 2 or pool.values.dtype.kind != "f":
        return
    rows = np.concatenate([_spaced(pool.values, pool, task) for task in range(len(pool.task_ids))])
    for at, channel in enumerate(pool.info.schema.channels):
        column = rows[:, at].astype(np.float64)
        column = column[~np.isnan(column)]
        for value in sentinels(column):
            share = 100 * float((column == value).mean())
            yield Finding(
                "error",
                f"channel {channel!r} holds {value:g} in {share:.1f} % of the rows, far from all others: "
                "what the instrument writes where it measured nothing?",
                f"set `absent: [{value:g}]`, which takes it as missing in training and on the device",
            )


def sentinels(column: npt.NDArray[np.float64]) -> list[float]:
    """Which extremes of a column of numbers without NaN say that nothing was measured, far from all else."""
    found: list[tuple[float, int]] = []
    others = column
    for _ in range(_MOST):
        if len(others) == 0:
            return []
        like = [one for one in {others.min(), others.max()} if _says_nothing(one)]
        found += [(float(one), int((others == one).sum())) for one in like]
        others = others[~np.isin(others, like)]
    spread = float(np.ptp(np.quantile(others, (0.05, 0.95)))) if found else 0.0
    return [
        value
        for value, times in found
        if len(others) >= 2 * times
        and np.abs(others).max() < abs(value)
        and float(np.abs(others - value).min()) > FAR * spread
    ]


def _says_nothing(value: np.float64) -> bool:
    short = np.float32(value)  # 9999.9, also where it was stored so
    nines = _NINES.fullmatch(np.format_float_positional(short, trim="-"))
    beyond = np.abs(short) in np.asarray(_BEYOND, np.float32)
    return beyond or bool(np.isin(short, np.asarray(SENTINELS, np.float32))) or nines is not None


def _totals(pool: TaskPool) -> Iterator[Finding]:
    rows = np.diff(pool.rows)
    called = np.array([_TOTAL.fullmatch(name.lower()) is not None for name in pool.task_ids])
    few = called & (rows <= FEW * np.median(rows))
    line = few & (rows <= LINES)
    severity: Literal["error", "warning"]
    for severity, some in (("error", line), ("warning", few & ~line)):
        if some.any():
            odd = [pool.task_ids[at] for at in np.flatnonzero(some)]
            yield Finding(
                severity,
                f"device(s) {names(odd)} are called like the last line of a table and have next to no rows",
                "remove the lines that sum up a table: they are no recording",
            )


def _unset_clocks(pool: TaskPool) -> Iterator[Finding]:
    if pool.times is None or not pool.info.dated:
        return
    odd: dict[str, int] = {}
    for task, name in enumerate(pool.task_ids):
        times = np.asarray(pool.times[int(pool.rows[task]) : int(pool.rows[task + 1])])
        far = np.abs(times - np.median(times)) > OFF_S + 5 * np.ptp(np.quantile(times, (0.05, 0.95)))
        if 0 < far.sum() <= 0.05 * len(times):
            odd[name] = int(far.sum())
    if odd:
        yield Finding(
            "warning",
            f"{sum(odd.values())} row(s) of {names(list(odd))} lie more than a year from all others of the "
            "device: a clock that was not set?",
            "correct or remove them: they stand in the wrong place of the timeline",
        )


def _spellings(what: str, known: Sequence[str]) -> Iterator[Finding]:
    """Names that a person reads as one."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in known:
        alike[_plain(name)].append(name)
    several = [spelled for spelled in alike.values() if len(spelled) > 1]
    if not several:
        return
    unseen = [spelled for spelled in several if len({_seen(name) for name in spelled}) < len(spelled)]
    shown = "; ".join(" and ".join(map(ascii, spelled[:4])) for spelled in (unseen or several)[:3])
    yield Finding(
        "error" if unseen else "warning",
        f"{len(several)} {what} written in several ways, which differ only in "
        f"{'what nobody sees' if unseen else 'case'}: {shown}",
        "write each name alike in every row; if they are really different, give them names that show it",
    )


def _seen(name: str) -> str:
    """Without blanks at the ends, and letters put together that were apart."""
    shown = (one for one in unicodedata.normalize("NFKC", name) if unicodedata.category(one) != "Cf")
    return " ".join("".join(shown).split())


def _plain(name: str) -> str:
    return _seen(name).casefold()


def _spaced(values: Any, pool: TaskPool, task: int) -> npt.NDArray[Any]:
    begin, end = int(pool.rows[task]), int(pool.rows[task + 1])
    return np.asarray(values[begin : end : max(1, (end - begin) // ROWS)])
