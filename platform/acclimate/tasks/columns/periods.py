"""Quarters, weeks and other spans that stand for their first day, in columns that are called by them.

Elsewhere `2026-W05` or `Q4 2025` may name a thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acclimate.tasks.columns.patterns import NAME, SHORT_YEAR
from acclimate.tasks.columns.words import words

_WEEKS = frozenset(["week", "isoweek", "kw", "cw", "woche", "semaine", "semana"])
_QUARTERS = frozenset(["quarter", "qtr", "semester", "period", "periode"])
_OTHERS = _QUARTERS | {"month", "monat", "mois", "mes", "yearmonth", "yearmon", "yyyymm", "ym"}
_YEAR, _SHORT = r"(?P<year>[0-9]{4})", "'?" + SHORT_YEAR
_QUARTER, _HALF_YEAR = r"[Qq]\s?(?P<quarter>[1-4])", r"[HhSs]\s?(?P<semester>[12])"
_WEEK = r"(?:[Ww]|[Kk][Ww]|[Cc][Ww]|[Ww]eek)?\s*(?P<week>[0-9]{1,2})"
_BETWEEN = r"\s*[-/.]?\s*"
_PATTERNS = {
    "quarter": (
        _YEAR + _BETWEEN + _QUARTER,
        _QUARTER + _BETWEEN + _YEAR,
        r"(?P<quarter>[1-4])[Qq]" + _BETWEEN + _YEAR,
        _QUARTER + _BETWEEN + _SHORT,
        r"(?P<quarter>[1-4])[Qq]" + _BETWEEN + _SHORT,
    ),
    "half a year": (_YEAR + _BETWEEN + _HALF_YEAR, _HALF_YEAR + _BETWEEN + _YEAR),
    "month": (_YEAR + r"-?[Mm](?P<month>[0-9]{2})", NAME + r"\s*[-/']\s*" + SHORT_YEAR),
    "week": (_YEAR + _BETWEEN + _WEEK, _WEEK + _BETWEEN + _YEAR),
}


def names_periods(column: str) -> bool:
    """Whether a column is called by quarters, months, weeks or the like."""
    return bool(words(column) & (_WEEKS | _OTHERS))


def names_weeks(column: str) -> bool:
    """Whether a column is called by weeks, so that `2026-05` in it is no month."""
    return bool(words(column) & _WEEKS) and not words(column) & _OTHERS


def period_patterns(column: str, example: str) -> Iterator[str]:
    """Every way to read an example of a period in a column of this name, as patterns of a moment."""
    for kind, patterns in _PATTERNS.items():
        if (kind == "week") == names_weeks(column):
            whole = (rf"^\s*{pattern}\s*$" for pattern in patterns)
            yield from (one for one in whole if re.match(one.replace(r"\pL", r"[^\W\d_]"), example))


def spoken_period(pattern: str) -> str | None:
    """What a pattern of these calls a period; None for other patterns."""
    bare = pattern.removeprefix(r"^\s*").removesuffix(r"\s*$")
    return next((f"{kind}, by its first day" for kind, known in _PATTERNS.items() if bare in known), None)
