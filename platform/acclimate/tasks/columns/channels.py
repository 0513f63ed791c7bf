"""Which of the columns without a role say nothing as inputs, and why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from acclimate.tasks.columns.looks import counts_rows, is_float, permutes, starts_again, why_no_number
from acclimate.tasks.columns.words import COUNTER, IDENTIFIER, qualified, words

LONG_STRETCH = 1024  # rows of a recording from which on it is a signal, not a table
COPY = 0.9999
"""Correlation with a target from which on a channel is the target in disguise."""
UNSEEN = 0.2
"""Share of the rows long after a channel's last value from which on it costs more than it says."""
FEWEST_NUMBERED = 300
"""Rows from which on whole numbers without a gap, each once and shuffled, are no coincidence."""
MOST_RATINGS = 8
"""Whole numbers, such as 0 and 192, that say how sure another column is."""
STALE = 32
"""Rows after which a value says nothing of a channel any more."""


def useless(
    frame: pd.DataFrame, columns: Sequence[str], found: Mapping[str, Any], file: str | None, whole: bool
) -> dict[str, str]:
    """Why each column that is no channel is none.

    Args:
        columns: those without a role.
        found: the declaration so far: `task`, and `kind`, `targets`, `recording`, `label` where known.
        file: the column that names each row's file; None without one.
        whole: `frame` holds every row, so that it can show what never changes.
    """
    left_out = {name: why for name in columns if (why := _unlike_a_channel(frame, name, found, file))}
    signals = _without(columns, left_out)
    left_out |= dict.fromkeys(
        _still(frame, signals, found), "stands still within every recording: it names one"
    )
    tasks = (
        [rows for _, rows in frame.groupby(found["task"], observed=True)]
        if "time" not in found
        else [
            rows
            for _, rows in frame.sort_values(found["time"], kind="stable").groupby(
                found["task"], observed=True
            )
        ]
    )
    left_out |= {
        name: "counts up and starts again: write its rise from row to row as a column to use it"
        for name in _without(signals, {**left_out, **dict.fromkeys(found.get("targets", ()))})
        if "recording" not in found and starts_again(name, tasks)
    }
    if whole:
        left_out |= dict.fromkeys(_still_in_tasks(frame, signals, found), "never changes in any task")
    return left_out | _unseen(
        frame, _without(columns, {**left_out, **dict.fromkeys(found.get("targets", ()))}), found
    )


def _without(columns: Sequence[str], left_out: Mapping[str, object]) -> list[str]:
    return [name for name in columns if name not in left_out]


def _unlike_a_channel(frame: pd.DataFrame, name: str, found: Mapping[str, Any], file: str | None) -> str:
    values = frame[name]
    if name == file:
        return "names the file, and may give the answer away"
    if not pd.api.types.is_numeric_dtype(values):
        return why_no_number(values)
    if words(name) & set(IDENTIFIER.split()):
        return "is named like an identifier"
    named = words(name) & set(COUNTER.split()) or name.startswith("column ")
    if counts_rows(values) and (values.is_monotonic_increasing or named):
        return "counts the rows"
    if counts_rows(values, frame[found["task"]]):
        steps = values.groupby(frame[found["task"]], observed=True).diff()
        if named or ("time" in found and set(steps.dropna()) == {1.0}):  # no hour, and no meter
            return "counts the rows of each task"
    numbers = frame.select_dtypes("number").columns.difference([found["task"]])
    rated = qualified(name, list(numbers))  # `unit_status` is a state of the unit
    if rated and values.nunique() <= MOST_RATINGS and not is_float(values):
        return f"says how sure {rated!r} is: leave that empty where it is bad"
    if pd.api.types.is_integer_dtype(values) and len(values) > FEWEST_NUMBERED and permutes(values):
        return "numbers the rows, in whatever order"
    if values.nunique() < 2:
        return "never changes"
    if found.get("kind") == "regression" and _is_copy(values, frame[found["targets"][0]]):
        return f"is the target in disguise: correlation above {COPY}"
    return ""


def _is_copy(values: pd.Series, target: pd.Series) -> bool:
    with np.errstate(all="ignore"):
        return bool(abs(values.astype(float).corr(target.astype(float))) > COPY)


def _still(frame: pd.DataFrame, channels: Sequence[str], found: Mapping[str, Any]) -> list[str]:
    """Of signals, channels that never move within a recording, such as a gain or a file's number."""
    keys = [found[key] for key in ("task", "recording", "label") if key in found]
    if len(keys) < 2:
        return []
    groups = frame.groupby(keys, observed=True)
    if groups.size().median() < LONG_STRETCH:
        return []
    distinct = groups[list(channels)].nunique()
    return [name for name in channels if (distinct[name] <= 1).all()]


def _still_in_tasks(frame: pd.DataFrame, channels: Sequence[str], found: Mapping[str, Any]) -> list[str]:
    """Channels that tell devices apart and nothing else."""
    distinct = frame.groupby(found["task"], observed=True)[list(channels)].nunique()
    return [name for name in channels if (distinct[name] <= 1).all()]


def _unseen(frame: pd.DataFrame, channels: Sequence[str], found: Mapping[str, Any]) -> dict[str, str]:
    """Channels without a value in long stretches of the recordings: holding the last one cannot fill these.

    Not all of them: where every channel is like that, which one to give up is a person's choice.
    """
    if "time" in found:  # readings lie channel by channel
        frame = frame.sort_values(found["time"], kind="stable")
    by_task = frame[list(channels)].notna().groupby(frame[found["task"]], observed=True, sort=False)
    seen = by_task.rolling(STALE, min_periods=1).max() if len(channels) else pd.DataFrame()
    costly = {name: 1.0 - float(share) for name, share in seen.mean().items() if share < 1.0 - UNSEEN}
    if len(costly) == len(channels):
        return {}
    other = {name: _taking_turns(frame, name, costly) for name in costly}
    return {
        name: f"has no value in {100 * share:.0f} % of the rows and {STALE} before each"
        + (f", where {other[name]!r} has one: if it is the same, call it alike" if other[name] else "")
        for name, share in costly.items()
    }


def _taking_turns(frame: pd.DataFrame, name: str, others: Collection[str]) -> str | None:
    """A column that begins where this one ends, as one that was renamed does."""
    absent = frame[name].isna()
    return next((one for one in others if one != name and (frame[one].notna() == absent).mean() > 0.95), None)
