"""What the sampling of some recordings says: where a clock starts again, the pace of rows, the window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from acclimate.tasks.columns.composed import BETWEEN, together
from acclimate.tasks.columns.sample import Sample
from acclimate.tasks.columns.words import words
from acclimate.tasks.recordings import LONGEST_WINDOW as LONGEST_WINDOW  # told on to the guesser
from acclimate.tasks.sources import BATCH_ROWS

EXAMPLES_WANTED = 40  # of a task; more rows make windows longer
_SECONDS = {
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
}  # in a time column's name
UNEVEN = 0.05
"""Share of the steps far from the usual one from which on they are uneven."""
_STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_EVEN = 0.7  # of the steps of one clock are like its usual one
_CERTAIN = 0.9  # likewise, from which on no second column is looked for
_PAIRED = 6  # columns of which pairs are tried


class Rhythm:
    """Reads a sample by the roles found so far.

    Args:
        found: columns by role, as in a declaration; read anew at each call.
        given: what a person said.
    """

    def __init__(self, sample: Sample, found: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        self.frame, self.share, self.found, self.given = sample.frame, sample.share, found, given
        self.stretch_rows = len(self.frame)  # between two pauses

    def restarts(self, candidates: list[str], *known: str) -> tuple[str, str] | None:
        """The first of some columns within whose values the clock is even, where it is not within a task.

        Two columns, where both together tell much more: they are written `A + B` and stand in the frame then.

        Args:
            known: a column that is one of them.
        """
        time = self.found.get("time")
        if time is None or "readings" in self.given:  # a moment comes once for each channel
            return None
        across = self._evenness(time, list(known))
        if across >= _EVEN:
            return None
        ones = {(*known, column): self._evenness(time, [*known, column]) for column in candidates}
        best = next((one for one, even in ones.items() if even >= max(_EVEN, across + 0.2)), None)
        within = across if best is None else ones[best]
        if within < _CERTAIN and not known:
            pairs = {pair: self._evenness(time, list(pair)) for pair in combinations(candidates[:_PAIRED], 2)}
            pair = max(pairs, key=lambda two: pairs[two], default=None)
            if pair is not None and pairs[pair] >= max(_EVEN, within + 0.2):
                best, within = pair, pairs[pair]
        if best is None:
            return None
        name = BETWEEN.join(best)
        if len(best) > 1:
            self.frame[name] = together(self.frame, name)
        return name, (
            f"the clock starts again for each: {100 * within:.0f} % of the steps are alike within one, "
            f"{100 * across:.0f} % across"
        )

    def pace(self) -> Iterator[tuple[str, Any, str]]:
        """The rate and the longest pause, as entries of a declaration with their reason."""
        time = self.found.get("time")
        if "rate" in self.given:
            yield "sample_rate_hz", float(self.given["rate"]), "as you said"
        if time is None:
            return
        stamps = pd.api.types.is_datetime64_any_dtype(self.frame[time])
        tasks = list(self.tasks())
        steps = np.concatenate([self._steps(task, time) for task in tasks])
        if len(steps) == 0:
            return
        usual = float(np.median(steps))
        unit = 1.0 if stamps else next((_SECONDS[one] for one in _SECONDS if one in words(time)), None)
        if unit is not None and "rate" not in self.given:
            apart = usual * unit
            yield "sample_rate_hz", float(f"{1 / apart:.4g}"), f"rows are {apart:.4g} s apart"
        pauses = int((steps > 10 * usual).sum())
        if "readings" in self.given and stamps:  # at its own times each channel
            usual = max(self._usual_of(channel, time, tasks) for channel in self.found["channels"])
            steps = np.array([usual, 5 * usual])
        near = steps[steps <= 10 * usual]
        uneven = float(((near < 0.5 * usual) | (near > 1.5 * usual)).mean())
        if stamps and uneven > UNEVEN:
            # what is forecast must be known in nearly every step
            ahead = self.found["kind"] == "forecasting" and "readings" not in self.given
            even = usual_step(float(np.quantile(near, 0.9)) if ahead else usual)
            why = f"{100 * uneven:.0f} % of the steps are far from the usual {usual:.4g} s"
            yield "resample_s", even, "gathers the readings of a moment" if "readings" in self.given else why
            yield "sample_rate_hz", float(f"{1 / even:.10g}"), f"rows become {even:g} s apart"
            yield "max_gap", 10 * even, "no window crosses a longer pause"
        elif pauses:
            self.stretch_rows = len(self.frame) // (pauses + len(tasks))
            yield "max_gap", float(f"{5 * usual:.4g}"), f"{pauses} longer pauses: no window crosses one"

    def window(self) -> tuple[int, str]:
        """A window that leaves every task enough examples and seldom spans two labels, and why."""
        sizes = self.frame.groupby(self.found["task"], observed=True).size()
        rows = int(np.median(sizes) / self.share)
        longest, reason = rows // (EXAMPLES_WANTED // 2), f"tasks have about {rows} rows"
        most = LONGEST_WINDOW
        if "label" in self.found:
            stretch = self.label_rows()
            longest = min(longest, max(1, stretch // 2))
            reason += f", labels last about {stretch}"
            most = longest_window(None, stretch)
        rate = self.found.get("sample_rate_hz")
        if rate is not None and self.found["kind"] != "forecasting":
            most = longest_window(rate, rows)
            reason += f", {rate:g} of them a second" if most > LONGEST_WINDOW else ""
        longest = min(longest, most)
        if "max_gap" in self.found:
            longest = min(longest, self.stretch_rows // 2)
            reason += f", a stretch without a pause about {self.stretch_rows}"
        if self.found["kind"] == "regression" and "time" not in self.found:
            longest, reason = 1, "no column orders the rows"
        window = 2 ** int(np.log2(longest)) if longest >= 4 else 1
        if window == 1:
            reason += ": single rows"
        return window, reason

    def label_rows(self) -> int:
        """Rows that a label lasts, also where the sample's pieces cut it short."""
        label = self.found["label"]
        stretch = float(np.median(np.concatenate([runs(task[label]) for task in self.tasks()])))
        piece = self.share * min(BATCH_ROWS, len(self.frame) / self.share)
        return int(stretch / self.share if stretch >= piece / 2 else stretch)

    def tasks(self) -> Iterator[pd.DataFrame]:
        """The rows of each task in order."""
        frame = self.frame
        keys = [self.found[key] for key in ("recording", "time") if key in self.found]
        if keys:
            frame = frame.sort_values(keys, kind="stable")
        return (rows for _, rows in frame.groupby(self.found["task"], observed=True))

    def _evenness(self, time: str, keys: list[str]) -> float:
        """The share of steps, of each task's rows in order of time, that are like the usual one."""
        by = list(dict.fromkeys([self.found["task"], *keys]))
        ordered = self.frame[[*by, time]].dropna().sort_values([*by, time], kind="stable")
        same = (ordered[by] == ordered[by].shift()).all(axis=1).to_numpy()[1:]
        steps = np.diff(seconds(ordered[time]))[same]
        if len(steps) == 0 or not (steps > 0).any():
            return 0.0
        usual = float(np.median(steps[steps > 0]))
        return float(((steps > 0.5 * usual) & (steps < 1.5 * usual)).mean())

    def _usual_of(self, channel: str, time: str, tasks: list[pd.DataFrame]) -> float:
        steps = [self._steps(task[task[channel].notna()], time) for task in tasks]
        every = np.concatenate(steps)
        return float(np.median(every)) if len(every) else 0.0

    def _steps(self, task: pd.DataFrame, time: str) -> npt.NDArray[np.float64]:
        """Times between neighbouring rows of one recording, those above 0."""
        steps = np.diff(seconds(task[time]))
        if "recording" in self.found:
            codes, _ = pd.factorize(task[self.found["recording"]])
            steps = steps[np.diff(codes) == 0]
        return steps[steps > 0]


def usual_step(step_s: float) -> float:
    """The length near this one that people give to a step: 1 min rather than 58.7 s."""
    if step_s < 0.7:
        return float(f"{step_s:.1g}")
    if step_s > 50_000:
        return max(1.0, round(step_s / 86_400)) * 86_400.0
    return float(min(_STEPS_S, key=lambda one: abs(np.log(one / step_s))))


def longest_window(rate_hz: float | None, rows: int) -> int:
    """Rows that a window may have, a power of two: 128, and up to 2048 where rows come fast.

    Of vibration, sound or current the spectrum tells, and a short window has none: 128 rows at 51.2 kHz told
    six faults apart in half of all cases, 2048 in nearly all.

    Args:
        rate_hz: rows a second; None where nobody knows.
        rows: of an uninterrupted recording, which say something about the rate where it is not known.
    """
    wanted = rows / 64 if rate_hz is None else 1.28 * rate_hz
    return int(min(2048, max(LONGEST_WINDOW, 2 ** round(np.log2(max(1.0, wanted))))))


def runs(values: pd.Series) -> npt.NDArray[np.int64]:
    """Lengths of the stretches of equal values; a missing one is like the one before."""
    codes, _ = pd.factorize(values.ffill())
    ends = np.flatnonzero(np.diff(codes)) + 1
    return np.diff(np.concatenate([[0], ends, [len(codes)]]))


def seconds(clock: pd.Series) -> npt.NDArray[np.float64]:
    """A time column as numbers: seconds, or its own unit where it holds none."""
    if pd.api.types.is_datetime64_any_dtype(clock):
        ticks = float(pd.Timedelta(seconds=1) / pd.Timedelta(1, unit=getattr(clock.dt, "unit", "ns")))
        return np.asarray(clock.astype("int64").to_numpy() / ticks, dtype=np.float64)
    return clock.to_numpy(dtype=np.float64)
