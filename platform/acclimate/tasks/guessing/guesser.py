"""What columns of a sample are for: what is predicted, from which channels, and in which windows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from acclimate.errors import DataError
from acclimate.tasks.columns.channels import useless
from acclimate.tasks.columns.composed import is_day
from acclimate.tasks.columns.looks import (
    MOST_CODES,
    are_numbered,
    are_of_one_thing,
    are_parts,
    counts_down,
    follows_the_week,
    is_float,
    is_text,
    only_codes,
    only_rises,
    rates,
    refuse_readings,
    says_direction_or_day,
    varies,
)
from acclimate.tasks.columns.periods import names_periods
from acclimate.tasks.columns.rhythm import LONGEST_WINDOW, runs, seconds
from acclimate.tasks.columns.spelled import switch
from acclimate.tasks.columns.words import (
    EVENT,
    LABEL,
    NORMAL,
    PART,
    PLACE,
    RECORDING,
    TARGET,
    TIME,
    qualified,
    words,
)
from acclimate.tasks.guessing.fitting import fitted
from acclimate.tasks.guessing.guessed import ORDER, Guess
from acclimate.tasks.guessing.roles import ROLES, Roles
from acclimate.tasks.guessing.seasons import forecast_entries
from acclimate.tasks.report.oddities import sentinels
from acclimate.tasks.sources.types import PLACES

MOST_LABELS = 50
SOME = 0.1
"""Share of the tasks in which a text that is named like no answer must change to be one."""
SHORT_WINDOW = 8  # rows in which an anomaly of slow signals shows
REMEMBERS = 0.5
"""Correlation of a number with its last value from which on its past tells it: it can be forecast."""


class Guesser(Roles):
    """What is predicted from which columns, once it is known who measured them and when."""

    def guess(self) -> Guess:
        self._task()
        self._column("group", None)
        self._column("time", self._time())
        if not {"label", "target"} & set(self.given):
            refuse_readings(self.frame, self.free)
        self._finer()
        most = len(self.frame) / 2
        named = (one for one in self._named(RECORDING) if 1 < self.frame[one].nunique() <= most)
        self._column("recording", next(((one, "its name says so") for one in named), None))
        if "target" in self.given:  # no column is to be kept as a label
            self._clock()
        self._aim()
        self._clock()
        self._no_clock()
        self._channels()
        self._aim_without_target()
        self._refuse_another_kind()
        self._absent()
        if "dates" in self.given and "time" in self.found:
            self._set("dates", self.given["dates"], "as you said")
        for key, value, reason in self.rhythm.pace():
            self._set(key, value, reason)
        self._window()
        self._quality()
        fixed = frozenset(self.given)
        if self.found["kind"] == "forecasting":
            self._look_ahead()
            fixed |= {"window", "missing"}
        declaration = {key: self.found[key] for key in ORDER if key in self.found}
        for key, value, reason in fitted(self.frame, declaration, fixed):
            if key == "channels":
                self.left_out |= dict.fromkeys(set(self.found[key]) - set(value), reason)
                reason = self.reasons[key]
            self._set(key, value, reason)
        declaration = {key: self.found[key] for key in ORDER if key in self.found}
        return Guess(declaration, {key: self.reasons.get(key, "") for key in declaration}, self.left_out)

    def _aim(self) -> None:
        """What is to be predicted, if a column shows it: classes or a number."""
        if "target" in self.given:
            self._aim_at(str(self.given["target"]))
            return
        if self.given.get("kind") == "forecasting" or "horizon" in self.given:
            return
        best = None
        parts = set(self._named(PART))
        files = () if self.crossed else (self.file,)
        texts = [one for one in self.free if self._may_be_class(one) and one not in (*parts, *files)]
        if self.given.get("kind") == "regression":
            texts = []
        events = [one for one in self._named(EVENT) if self.frame[one].nunique() == 2]
        named = [*self._named(LABEL), *self._named(TARGET), *events]
        told = {*named, *self._named(EVENT)}
        for column in dict.fromkeys([*named, *texts]):
            values = self.frame[column]
            numbers = [one for one in self.free if pd.api.types.is_numeric_dtype(self.frame[one])]
            if rates(values) or qualified(column, numbers):  # `machine_status` is a state of the machine
                self.left_out[column] = (
                    "says how sure a value is, and is no answer: leave that empty where bad"
                )
                continue
            if not 2 <= values.nunique() <= MOST_LABELS or is_float(values):
                continue
            if pd.api.types.is_numeric_dtype(values) and self._is_number(column):
                continue
            if self._stays(column):
                self.left_out[column] = "never changes in any task: it tells what the device is"
                continue
            if "kind" not in self.given and column not in told and self._hardly_changes(column):
                self.left_out[column] = (
                    f"changes in no more than {SOME:.0%} of the tasks, which differ in it: it tells what the "
                    "device is"
                )
                continue
            best = column, f"{values.nunique()} classes: {', '.join(map(str, values.dropna().unique()[:6]))}"
            break
        self._column("label", best)
        if self.given.get("kind") == "anomaly":
            self._aim_at_anomalies()
            return
        if "label" in self.found:
            self._set("kind", "classification", f"column {self.found['label']!r} holds classes")
            return
        numeric = (one for one in self._named(TARGET) if pd.api.types.is_numeric_dtype(self.frame[one]))
        numbers = sorted((one for one in numeric if not self._follows_time(one)), key=self._stays)
        if self.given.get("kind") != "regression":  # a person may insist
            numbers = [one for one in numbers if not self._stays(one)]
        if numbers:
            self.free.remove(numbers[0])
            self._set("kind", "regression", f"column {numbers[0]!r} is named like a target and holds numbers")
            self._set("targets", [numbers[0]], "its name says so")
            return
        ordered = {"time", "recording"} & {*self.found} or "kind" in self.given
        coded = None if ordered else only_codes(self.frame, self.free, self.found["task"])
        if coded is not None:
            self._column("label", (coded, f"{self.frame[coded].nunique()} whole numbers from the first on"))
            why = f"{coded!r} holds codes, and no column orders rows to be forecast; else --kind forecasting"
            self._set("kind", "classification", why)
            return
        left = next((one for one in self.free if self._runs_out(one)), None)
        if left is not None:
            self.free.remove(left)
            self._set("kind", "regression", f"{left!r} counts down, which nobody knows before the end")
            self._set("targets", [left], "it falls alike from row to row")

    def _aim_at_anomalies(self) -> None:
        self._set("kind", "anomaly", "as you said")
        if "label" in self.found:
            values = self.frame[self.found["label"]].dropna().astype(str)
            known = [one for one in values.unique() if one.lower() in NORMAL.split()]
            normal = known or [values.mode()[0]]
            self._set("normal", normal, "its name says so" if known else "the most frequent label")

    def _aim_at(self, target: str) -> None:
        """The number that a person named: from other columns, or from its own past where that tells it."""
        kind, why = self.given.get("kind"), "as you said"
        remembers = self._remembers(target)
        down = counts_down(target, list(self.rhythm.tasks())) if "time" in self.found else None
        if kind is None and "horizon" not in self.given and down is not None:
            kind = "regression"
            why = f"{target!r} falls by {down:g} from row to row: a countdown has no future to forecast, and "
            why += "other columns tell where it stands"
        elif kind is None and ("horizon" in self.given or remembers >= REMEMBERS):
            kind = "forecasting"
            why = f"{target!r} goes by its last value (correlation {remembers:.2f}); else --kind regression"
        elif kind is None:
            kind, why = "regression", f"you named the target {target}"
        self._set("kind", kind, why)
        self._set("targets", [target], "as you said")
        if kind == "forecasting":
            self.free.append(target)

    def _remembers(self, target: str) -> float:
        """The correlation of a number with its last value, in the middle task."""
        if "time" not in self.found or not pd.api.types.is_numeric_dtype(self.frame[target]):
            return 0.0
        found = [task[target].astype(float).autocorr() for task in self.rhythm.tasks() if len(task) > 8]
        known = [one for one in found if np.isfinite(one)]
        return float(np.median(known)) if known else 0.0

    def _runs_out(self, column: str) -> bool:
        """Whether a number says how much is left, and so what comes: no channel could."""
        if "time" not in self.found or not pd.api.types.is_numeric_dtype(self.frame[column]):
            return False
        return bool(self.frame[column].min() >= 0) and (
            counts_down(column, list(self.rhythm.tasks())) is not None
        )

    def _is_number(self, column: str) -> bool:
        """Whether numbers that could be codes of classes are a quantity, or no answer at all."""
        if self.given.get("kind") == "regression":
            return True
        if column in self._named(LABEL):
            return False
        return self.frame[column].nunique() > MOST_CODES or self._follows_time(column)

    def _follows_time(self, column: str) -> bool:
        """Whether it is the same for all devices at each moment, as a mark on a year is."""
        time = self.found.get("time")
        if time is None or not self.frame[time].duplicated().any():  # no moment is shared
            return False
        return not varies(self.frame[column], self.frame[time])

    def _stays(self, column: str) -> bool:
        """Whether it changes in no task, so that it is no answer; only the whole table shows that."""
        return self.whole and not varies(self.frame[column], self.frame[self.found["task"]])

    def _hardly_changes(self, column: str) -> bool:
        """Whether it changes in few tasks and has another value from task to task, as a trait of devices has.

        What is the same in nearly all of them and changes in a few, such as a fault, is what happens.
        """
        tasks = self.frame.groupby(self.found["task"], observed=True)[column]
        usual = tasks.agg(lambda one: next(iter(one.mode()), None))
        prevails = float(usual.value_counts(normalize=True).max())
        return self.whole and bool((tasks.nunique() > 1).mean() <= SOME) and prevails < 1 - SOME

    def _may_be_class(self, column: str) -> bool:
        """Whether it holds words or marks that neither the calendar nor the compass has."""
        values = self.frame[column]
        if not is_text(values) and not pd.api.types.is_bool_dtype(values):
            return False
        if column in PLACES and (are_numbered(values) or are_parts(values) or are_of_one_thing(values)):
            return False
        if is_day(values) or (column not in PLACES and self._seldom_twice(self.found["task"], column)):
            return False  # it says when, or which row it is
        time = self.frame[self.found["time"]] if "time" in self.found else None
        dated = time is not None and pd.api.types.is_datetime64_any_dtype(time)
        return not says_direction_or_day(values) and not (dated and follows_the_week(values, time))

    def _channels(self) -> None:
        ones = []
        for name in self.free:
            found = switch(self.frame[name]) if is_text(self.frame[name]) and name != self.file else None
            if found is not None:
                self.frame[name] = found[0]
                ones.append(f"{found[1]!r} in {name!r}")
        left_out = useless(self.frame, self.free, self.found, self.file, self.whole)
        channels = [column for column in self.free if column not in left_out]
        self.left_out = left_out | self.left_out | self._unread_times()
        if not channels:
            taken = (f"{self.found[role]!r} is the {role}" for role in ROLES if role in self.found)
            unused = (f"{name!r} {why}" for name, why in self.left_out.items())
            raise DataError(
                f"no numeric column is left as an input channel: {'; '.join((*taken, *unused))}; name other "
                "columns for a role, or where each row is one reading, add a column that names the device"
            )
        told = f"; 1 is {', '.join(ones)}" if ones else ""
        self._set("channels", channels, f"every other numeric column{told}")

    def _unread_times(self) -> dict[str, str]:
        """What to say of text that is called by a time, and is none, where nothing else orders the rows."""
        told = (
            "holds text such as {!r}, no time that is read, so rows keep their order: write the first day of "
        )
        told += "each as 2026-01-31"
        unread = (one for one in self.free if "time" not in self.found and is_text(self.frame[one]))
        named = (one for one in unread if names_periods(one) or words(one) & {*f"{TIME} fiscal".split()})
        return {
            one: told.format(self.frame[one].dropna().iloc[0])
            for one in named
            if self.frame[one].notna().any()
        }

    def _absent(self) -> None:
        """What instruments write where they measured nothing is missing from here on."""
        measured = list(dict.fromkeys([*self.found["channels"], *self.found.get("targets", [])]))
        found: dict[float, str] = {}
        for column in measured:
            if pd.api.types.is_numeric_dtype(self.frame[column]):
                values = self.frame[column].dropna().to_numpy(dtype=float)
                found |= dict.fromkeys(sentinels(values), column)
        if found:
            self.frame[measured] = self.frame[measured].replace(list(found), np.nan)
            told = ", ".join(f"{value:g} in {column!r}" for value, column in found.items())
            self._set("absent", list(found), f"far from all other values: {told}")

    def _aim_without_target(self) -> None:
        if "kind" in self.found:
            return
        places = set(self._named(PLACE))
        channels = [one for one in self.found["channels"] if one not in places] or self.found["channels"]
        target = max(channels, key=lambda one: self.frame[one].nunique())
        self._set("kind", "forecasting", "no column looks like a label or a target")
        self._set("targets", [target], "the channel with most values; name what you want to forecast")

    def _refuse_another_kind(self) -> None:
        """Raise a DataError where the columns show something else than a person asked for."""
        asked = self.given.get("kind")
        if asked in (None, self.found["kind"]):
            return
        if asked == "classification":
            some = [one for one in self.found["channels"] if self._may_be_codes(one)]
            perhaps = f", such as {', '.join(map(repr, some[:6]))}" if some else ""
            raise DataError(
                "--kind classification: no column is named or looks like classes; name the one that holds "
                f"them with --label{perhaps}"
            )
        if "label" in self.found:
            raise DataError(
                f"--kind {asked}: column {self.found['label']!r} looks like what is to be predicted and "
                "holds classes; name the number to predict with --target"
            )
        raise DataError(
            f"--kind {asked}: no column is named like a target; name the number to predict with --target"
        )

    def _may_be_codes(self, column: str) -> bool:
        """Whether few whole numbers that change within tasks could be classes."""
        values = self.frame[column]
        return not is_float(values) and 2 <= values.nunique() <= MOST_CODES and not self._stays(column)

    def _window(self) -> None:
        window, reason = self.rhythm.window()
        if self.found["kind"] == "anomaly" and window <= LONGEST_WINDOW:
            window, reason = min(window, SHORT_WINDOW), "short, so that an alarm comes soon"
        if "window" in self.given:
            window, reason = self.given["window"], "as you said"
        self._set("window", window, reason)
        if self.found["kind"] != "forecasting":
            return
        if "horizon" in self.given:
            self._set("horizon", self.given["horizon"], "as you said")
        else:
            rows = window if isinstance(window, int) else 4
            self._set("horizon", max(1, rows // 4), "rows ahead; a quarter of the window")

    def _look_ahead(self) -> None:
        """Seasons, calendar and gaps of what is forecast."""
        target, time = self.found["targets"][0], self.found.get("time")
        if not pd.api.types.is_numeric_dtype(self.frame[target]):
            return
        series = [task[target].to_numpy(dtype=float) for task in self.rhythm.tasks()]
        span_s = None
        if time is not None and pd.api.types.is_datetime64_any_dtype(self.frame[time]):
            span_s = float(np.ptp(seconds(self.frame[time].dropna())))
        for key, value, reason in forecast_entries(self.found, self.given, series, span_s):
            if value in (None, []):
                self.found.pop(key, None)
                self.left_out[key] = reason
            else:
                self._set(key, value, reason)

    def _quality(self) -> None:
        tasks = list(self.rhythm.tasks())
        label = self.found.get("label")
        if (
            label
            and self.found["kind"] != "anomaly"
            and all(len(runs(one[label])) <= one[label].nunique() for one in tasks)
        ):
            self._set("timeline", "label", "each label was recorded in one stretch of its own")
        if "time" in self.found:
            declared = [
                self.found[key] for key in ("task", "recording", "time", "label") if key in self.found
            ]
            used = list(dict.fromkeys([*declared, *self.found["channels"], *self.found.get("targets", [])]))
            again = int(self.frame.duplicated(used).sum())
            if again:
                self._set("repeated", "drop", f"{again} row(s) of the sample repeat another")
        counters = [
            one
            for one in self.found["channels"]
            if one not in self.found.get("targets", ()) and only_rises(one, tasks)  # not what is forecast
        ]
        if counters and isinstance(self.found["window"], int) and self.found["window"] > 1:
            self._set("relative", counters, "counters: they only rise, so the rise within a window tells")
