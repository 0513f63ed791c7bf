"""Devices of which several share a name: numbered anew on each site, or named by a finer column."""

from __future__ import annotations

import pandas as pd

from acclimate.tasks.columns.composed import BETWEEN

OFTEN = 0.5  # of the names of a task


def numbered_anew(frame: pd.DataFrame, task: str, name: str) -> bool:
    """Whether devices are whole numbers that run from the same first one, 0 or 1, in each of several files.

    Args:
        name: the column of the files.
    """
    if not pd.api.types.is_integer_dtype(frame[task]):
        return False
    numbers = frame.groupby(name, observed=True)[task].agg(["min", "max", "nunique"])
    first = int(numbers["min"].iloc[0])
    runs = (numbers["min"] == first) & (numbers["max"] - first + 1 == numbers["nunique"])
    return first in (0, 1) and len(numbers) > 1 and bool((runs & (numbers["nunique"] > 1)).all())


def alike_in_each(frame: pd.DataFrame, task: str, name: str) -> bool:
    """Whether each file numbers as many devices as every other."""
    return bool(frame.groupby(name, observed=True)[task].nunique().nunique() == 1)


def finer_task(frame: pd.DataFrame, task: str, name: str, time: str) -> str | None:
    """The task's column by which devices measured at once are told apart; None if they were not at once.

    Args:
        name: the column, or several, within whose values the clock of one task is even.
        time: holds timestamps: what they say together is the same moment.
    """
    spans = frame.groupby([task, name], observed=True)[time].agg(["min", "max"]).sort_values([task, "min"])
    before = spans.groupby(task, observed=True)["max"].shift()
    follows = before.notna()
    if not follows.any() or (spans["min"] < before)[follows].mean() < OFTEN:
        return None
    alone = frame.groupby(name, observed=True)[task].nunique().max() == 1
    return name if alone else task + BETWEEN + name
