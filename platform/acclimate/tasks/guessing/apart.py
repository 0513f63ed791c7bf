"""Devices of which several share a name: numbered anew on each site, or named by a finer column."""

from __future__ import annotations

import pandas as pd

from acclimate.tasks.columns.composed import BETWEEN

OFTEN = 0.5  # of the names of a task


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
