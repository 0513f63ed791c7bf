"""Choices that depend on what survives: what is done about gaps, and a window that gaps leave whole.

Both are tried on a sample by cutting it as a pool is cut, so that no figure is a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from acclimate.errors import DataError
from acclimate.tasks.building.build import build_in_memory
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import from_frame

Entry = tuple[str, Any, str]
"""A key of a declaration, its value and the reason."""
KEPT = 0.75
"""Of the windows that a recording without a gap would give; fewer is a fault, not a detail."""


@dataclass(frozen=True)
class Survival:
    """What a declaration leaves of a sample.

    Attributes:
        windows: examples that are left.
        share: of those that would be there without a gap.
        lost: tasks without one, though they have rows for one.
    """

    windows: int
    share: float
    lost: int

    @property
    def is_good(self) -> bool:
        return self.share >= KEPT and self.lost == 0

    @property
    def worth(self) -> tuple[int, float]:
        return -self.lost, self.share


def survival(frame: pd.DataFrame, declaration: Mapping[str, Any]) -> Survival:
    """Cut a sample by a declaration and count."""
    try:
        pool = build_in_memory(from_frame(frame), RecordingSchema.from_dict(declaration))
    except DataError:
        return Survival(0, 0.0, 1)
    left = [pool.examples_of(task) for task in range(len(pool.task_ids))]
    lost = sum(not kept and possible > 0 for kept, possible in zip(left, pool.info.possible, strict=True))
    return Survival(sum(left), sum(left) / max(1, sum(pool.info.possible)), lost)


def fitted(frame: pd.DataFrame, declaration: Mapping[str, Any], fixed: frozenset[str]) -> list[Entry]:
    """Entries of a declaration to change where values are missing, with their reasons.

    Args:
        fixed: keys that a person gave.
    """
    if not _absent(frame, declaration) and "resample_s" not in declaration:
        return []
    return _fitted(frame, declaration, fixed)[1]


def _absent(frame: pd.DataFrame, declaration: Mapping[str, Any]) -> dict[str, int]:
    """Missing values of each declared column that has some."""
    used = [*declaration["channels"], *declaration.get("targets", ())]
    if declaration.get("label"):
        used.append(declaration["label"])
    return {name: int(frame[name].isna().sum()) for name in dict.fromkeys(used) if frame[name].isna().any()}


def _fitted(
    frame: pd.DataFrame, declaration: Mapping[str, Any], fixed: frozenset[str]
) -> tuple[Survival, list[Entry]]:
    """What is left by the best entries, and these: a channel goes only where more is left without it."""
    absent = _absent(frame, declaration)
    told = f"{sum(absent.values())} values are missing in the sample"
    told += ", and steps without a row" if "resample_s" in declaration else ""
    tried: dict[tuple[str, int], Survival] = {}
    windows = _windows(declaration, fixed)
    for window in windows:
        for missing in ("drop", "hold") if "missing" not in fixed else (declaration.get("missing", "drop"),):
            change = {**declaration, "missing": missing, "window": window}
            tried[missing, window] = survival(frame, change)
            if tried[missing, window].is_good:
                told_of = absent or "resample_s" in declaration
                named = _chosen(missing, window, tried, windows[0], told) if told_of else ()
                return tried[missing, window], list(named)
    missing, window = max(tried, key=lambda one: (*tried[one].worth, one[1]))
    kept, entries = tried[missing, window], list(_chosen(missing, window, tried, windows[0], told))
    worst = max(absent, key=lambda name: absent[name], default="")
    others = [name for name in declaration["channels"] if name != worst]
    if not others or len(others) == len(declaration["channels"]) or worst in declaration.get("targets", ()):
        return kept, entries
    relative = [name for name in declaration.get("relative", ()) if name != worst]
    fewer = {**declaration, "channels": others} | ({"relative": relative} if relative else {})
    left, further = _fitted(frame, fewer, fixed)
    if left.worth <= kept.worth:
        return kept, entries
    share = 100 * absent[worst] / len(frame)
    reason = f"has no value in {share:.2g} % of the rows, which costs too many windows"
    return left, [("channels", others, reason), *further]


def _windows(declaration: Mapping[str, Any], fixed: frozenset[str]) -> list[int]:
    first = declaration["window"]
    if "window" in fixed or not isinstance(first, int):
        return [first]
    return [first // 2**halving for halving in range(4) if first // 2**halving >= 4] or [first]


def _chosen(
    missing: str, window: int, tried: Mapping[tuple[str, int], Survival], first: int, told: str
) -> Iterator[tuple[str, Any, str]]:
    kept = tried[missing, window]
    reason = f"{told}; {100 * kept.share:.0f} % of the windows are left"
    other = tried.get(("drop" if missing == "hold" else "hold", window))
    if other is not None:
        reason += f", with '{'drop' if missing == 'hold' else 'hold'}' {100 * other.share:.0f} %"
    yield "missing", missing, reason
    if window != first:
        was = max((one.share for (_, rows), one in tried.items() if rows == first), default=0.0)
        yield "window", window, f"gaps leave {100 * was:.0f} % of the windows of {first} rows"
