"""Who measured the rows of a sample, and when: device, owner, clock and recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from acclimate.errors import DataError
from acclimate.tasks.columns.composed import BETWEEN, are_days, together
from acclimate.tasks.columns.looks import (
    are_numbered,
    are_of_one_thing,
    are_parts,
    counts_rows,
    is_dated,
    is_float,
    is_text,
    mostly_rises,
    no_task,
    numbers_a_day,
    refuse_quantities,
    says_direction_or_day,
    varies,
)
from acclimate.tasks.columns.rhythm import Rhythm
from acclimate.tasks.columns.sample import EVEN, Sample
from acclimate.tasks.columns.words import (
    LABEL,
    LATER,
    OF_DAY,
    PART,
    PEOPLE,
    RECORDING,
    RUN,
    TARGET,
    TASK,
    TIME,
    is_axis,
    names_one,
    words,
)
from acclimate.tasks.guessing.apart import alike_in_each, finer_task, numbered_anew
from acclimate.tasks.sources.types import FILE, FOLDER, NAME

FEW, MANY = 4, 5
"""Values of a text that are no fleet yet, and devices of each from which on these are one."""
SELDOM = 0.05
"""Share of the rows whose moment may come twice."""
ROLES = ("task", "group", "time", "recording", "label", "target")


class Roles:
    """Takes columns out of `free` one role after another; the roles that names tell best come first."""

    def __init__(self, sampled: Sample, given: Mapping[str, Any]) -> None:
        self.frame, self.given = sampled.frame, given
        named = [str(given[key]) for key in ROLES if key in given]
        spoken = {*named, *(part for name in named for part in name.split(BETWEEN))}
        self.free = [column for column in self.frame.columns if column not in spoken]
        self.crossed = {FILE, FOLDER, NAME} <= {*self.free} and _recur(self.frame)
        name = NAME if self.crossed else FILE
        self.file = name if name in self.free and is_text(self.frame[name]) else None  # of each file
        self.found: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self._files_once(spoken)
        self.rhythm = Rhythm(sampled, self.found, given)
        self.whole = sampled.share >= 1.0

    def _files_once(self, spoken: set[str]) -> None:
        """What names files is one column: what a person said, or the one that says something by itself."""
        named = next((one for one in (FILE, NAME) if one in spoken), self.file)
        if named is None or not _names_files(self.frame):
            return
        for other in {FILE, NAME} & {*self.free} - {named}:
            self.free.remove(other)
            self.left_out[other] = f"names the files, as {named!r} does"

    def _set(self, key: str, value: Any, reason: str) -> None:
        self.found[key], self.reasons[key] = value, reason

    def _column(self, role: str, best: tuple[str, str] | None) -> None:
        if role in self.given:
            best = str(self.given[role]), "as you said"
        if best is not None:
            self._set(role, best[0], best[1])
            self.free = [one for one in self.free if one != best[0]]

    def _named(self, wanted: str) -> Iterator[str]:
        """The free columns with one of the wanted words in their name, in the order of the words."""
        axes = {one for one in self.free if is_axis(one, self.free)}
        for word in wanted.split():
            free = (one for one in self.free if word != "y" or one not in axes)
            yield from (one for one in free if word in words(one) or word == str(one).lower())

    def _task(self) -> None:
        best = None
        repeated = [one for one in self.free if 2 <= self.frame[one].nunique() <= len(self.frame) / 2]
        said = set(self._named(f"{LABEL} {TARGET}"))  # what befalls a device, such as `Machine failure`
        named = [one for one in self._named(TASK) if one in repeated and not is_float(self.frame[one])]
        named = [
            one
            for one in named
            if one not in said and (is_text(self.frame[one]) or names_one(one, TASK.split()))
        ]
        named = [one for one in named if not self._numbers_rows(one)]
        if named:
            best = named[0], f"its name says so; {self.frame[named[0]].nunique()} of them in the sample"
        else:
            unlike = set(self._named(f"{LABEL} {TARGET} {RECORDING} {TIME} {PART}"))
            texts = [
                one
                for one in repeated
                if is_text(self.frame[one])
                and one not in (*unlike, self.file, FOLDER)
                and self.frame[one].nunique() > 2
                and not says_direction_or_day(self.frame[one])
            ]
            place = self._place()
            if place is not None:
                best = place, f"a {place} each: {self.frame[place].nunique()} of them in the sample"
            elif texts:
                best = (
                    texts[0],
                    f"text with {self.frame[texts[0]].nunique()} values; check that it is the device",
                )
        if best is None and "task" not in self.given:
            best = self._series(repeated)
        if best is None and "group" in self.given:
            best = str(self.given["group"]), "every owner is one task, for no other column names a device"
        if best is None and "task" not in self.given:
            raise DataError(no_task(self.frame, self._named(TASK)))
        self._column("task", best)
        if "task" not in self.given:
            refuse_quantities(self.frame[self.found["task"]])
        self._name_of_each_row(self.found["task"])

    def _numbers_rows(self, column: str) -> bool:
        """Whether whole numbers count the rows of each file, whose moments differ, as no device does."""
        if self.file not in self.free or not counts_rows(self.frame[column], self.frame[self.file]):
            return False
        dated = (one for one in self.free if pd.api.types.is_datetime64_any_dtype(self.frame[one]))
        return any(not self.frame.duplicated([self.file, one]).any() for one in dated)

    def _place(self) -> str | None:
        """The folder or file that stands for the device; None where files hold days or all devices."""
        files = self.file in self.free and not is_dated(self.frame[self.file])
        folders = FOLDER in self.free and not are_parts(self.frame[FOLDER])
        if folders and (not files or (self.crossed and not are_numbered(self.frame[self.file]))):
            return FOLDER
        return self.file if files else None

    def _name_of_each_row(self, task: str) -> None:
        """Refuse a device that only the first row of its block names, as merged cells are saved."""
        absent = self.frame[task].isna()
        if absent.mean() > 0.5:
            raise DataError(
                f"column {task!r} is empty in {100 * absent.mean():.0f} % of the rows: write the device into "
                "every row, or name another column with --task"
            )

    def _series(self, columns: Sequence[str]) -> tuple[str, str] | None:
        """A column, whatever its name, that tells apart the rows of one moment."""
        if "time" in self.given:
            times = [str(self.given["time"])]
        else:
            first = [found[0] for found in [self._time()] if found is not None]
            numbers = (one for one in self._named(TIME) if pd.api.types.is_numeric_dtype(self.frame[one]))
            times = list(dict.fromkeys([*first, *numbers]))
        for time in times:
            for column in columns if self.frame[time].duplicated().any() else ():
                whole = is_text(self.frame[column]) or pd.api.types.is_integer_dtype(self.frame[column])
                if column == time or not whole or numbers_a_day(self.frame[column]):
                    continue
                twice = self.frame.duplicated([column, time]).mean()
                if twice == 0 or (is_text(self.frame[column]) and twice <= SELDOM):
                    return column, f"it tells the rows of one {time!r} apart; check that it is the device"
        return None

    def _time(self) -> tuple[str, str] | None:
        stamps = [one for one in self.free if pd.api.types.is_datetime64_any_dtype(self.frame[one])]
        task = self.found.get("task")
        if stamps:
            later = set(self._named(LATER))
            first = [one for one in stamps if one not in later and task and self._seldom_twice(task, one)]
            return max(first or stamps, key=lambda one: self.frame[one].nunique()), "it holds timestamps"
        numbers = [one for one in self._named(TIME) if pd.api.types.is_numeric_dtype(self.frame[one])]
        if task is None:
            counts = [one for one in self.free if counts_rows(self.frame[one])]
            return next(iter([(one, "its name says so") for one in numbers] + _counting(counts)), None)
        owners = self.frame[task]
        counts = [one for one in self.free if counts_rows(self.frame[one], owners)]
        once = [one for one in [*numbers, *counts] if not self.frame.duplicated([task, one]).any()]
        # A year beside months, or an hour beside days, is no order: what numbers the rows is a better one.
        named = [(one, "its name says so") for one in numbers if self._runs(one)]
        first = [one for one in named if one[0] in once and mostly_rises(self.frame[one[0]], owners)]
        found = [*first, *_counting(one for one in counts if one in once)]
        found += [one for one in named if one[0] in once] + _counting(counts) + named
        if numbers and not found:
            self.left_out["time"] = (
                f"{numbers[0]!r} rises and falls as what is measured does: rows keep their order; if it is "
                f"their clock, say --time '{numbers[0]}'"
            )
        return next(iter(found), None)

    def _runs(self, column: str) -> bool:
        """Whether a number can be a clock: what falls as often as it rises, in all steps, is measured."""
        values, owners = self.frame[column], self.frame[self.found["task"]]
        if not is_float(values) or mostly_rises(values, owners) or mostly_rises(-values, owners):
            return True
        steps = values.sort_values().groupby(owners, observed=True).diff().dropna()
        steps = steps[steps > 0]
        return bool(len(steps) and steps.between(0.5 * steps.median(), 1.5 * steps.median()).mean() > EVEN)

    def _finer(self) -> None:
        """Devices that share one name of the task's column, for they were measured at the same time."""
        task, time = self.found["task"], self.found.get("time")
        if "task" in self.given or time is None:
            return
        if not is_dated(self.frame[time]):
            self._within_few(task)
            self._numbered_anew(task)
            return
        others = set(self._named(f"{LABEL} {TARGET} {PART}"))
        named = [one for one in self._several() if one not in others]
        numbers = pd.api.types.is_integer_dtype(self.frame[task])  # names are of one device in every file
        best = self.rhythm.restarts([*named, *(self._files_of_devices() if numbers else [])])
        finer = finer_task(self.frame, task, best[0], time) if best is not None else None
        if best is None or finer is None:
            return
        self._refuse_times_of_day(best[0])
        if finer != best[0]:
            self.frame[finer] = together(self.frame, finer)
        told = f"of one {task!r} several were measured at once; --group {task} holds them out together"
        self._set("task", finer, told)
        self.free = [one for one in self.free if one not in best[0].split(BETWEEN)]

    def _within_few(self, task: str) -> None:
        """Devices of a few kinds, such as treatments, that a text names: each has a clock of its own."""
        if not is_text(self.frame[task]) or set(words(task)) & set(TASK.split()):
            return
        labels = list(self._named(LABEL))
        others = {*labels, *self._named(f"{TARGET} {PART} {RECORDING} {RUN}")}
        best = self.rhythm.restarts([one for one in self._several() if one not in others])
        if best is None or BETWEEN in best[0]:
            return
        kinds, devices = self.frame[task].nunique(), self.frame[best[0]].nunique()
        of_runs = any(not varies(self.frame[one], self.frame[best[0]]) for one in labels)
        if kinds > FEW or devices < MANY * kinds or of_runs or varies(self.frame[task], self.frame[best[0]]):
            return
        told = f"the clock starts again for each of {devices}, and {task!r} has {kinds} values only"
        self._set("task", best[0], f"{told}; else --task {task}")
        self.free = [one for one in self.free if one != best[0]]
        if (
            "group" not in self.found
        ):  # should it be they who were measured, nobody is on both sides of a split
            self._set("group", task, f"held out together, for {best[0]!r} may number what one of them did")

    def _files_of_devices(self) -> list[str]:
        """The column of files, where these are no parts of an experiment, nor the sensors of one device."""
        if self.file is None or self.file not in self.free:
            return []
        names = self.frame[self.file]
        return [] if are_parts(names) or are_of_one_thing(names) else [self.file]

    def _numbered_anew(self, task: str) -> None:
        """Devices that each file numbers from the first: 1 of a second file may be another one."""
        files = self._files_of_devices()
        if not files or self.found["task"] != task or not numbered_anew(self.frame, task, files[0]):
            return
        if self.rhythm.restarts(files) is None:
            return
        finer = task + BETWEEN + files[0]
        count, reason = self.frame[files[0]].nunique(), self.reasons["task"]
        if set(words(task)) & set(PEOPLE.split()) or alike_in_each(self.frame, task, files[0]):
            told = f"numbered from the first in each of {count} files: if those are others, --task '{finer}'"
            self._set("task", task, f"{reason}; {told}")
            return
        self.frame[finer] = together(self.frame, finer)
        told = f"numbered from the first in each of {count} files, and not alike: else --task {task}"
        self._set("task", finer, told)
        self.free.remove(files[0])
        if "group" not in self.found:
            self._set("group", task, "held out together, for a number may be one device in all files")

    def _clock(self) -> None:
        """A clock that starts again shuffles recordings together: find what tells them apart."""
        if "recording" in self.given:
            return
        known = [self.found["recording"]] if "recording" in self.found else []
        label = [self.found["label"]] if "label" in self.found else []
        columns = [*([self.file] if self.file in self.free else []), *label, *self._several()]
        best = self.rhythm.restarts(columns, *known)
        if best is not None and "time" not in self.given and are_days(self.frame, best[0].split(BETWEEN)):
            self._no_order(f"numbers the times of each {best[0]!r}, and no column holds the year")
        elif best is not None:
            self._refuse_times_of_day(best[0])
            self._set("recording", *best)
            self.free = [one for one in self.free if one not in best[0].split(BETWEEN)]

    def _refuse_times_of_day(self, name: str) -> None:
        """Refuse to take what parts the rows of a day for a device or a recording, where it numbers them."""
        time, task = self.found["time"], self.found["task"]
        moments = pd.to_datetime(self.frame[time]) if is_dated(self.frame[time]) else None
        if moments is None or bool((moments != moments.dt.normalize()).any()):
            return
        of_day = set(self._named(OF_DAY))
        column = next(
            (one for one in name.split(BETWEEN) if one in of_day or numbers_a_day(self.frame[one])), None
        )
        if column is not None:
            raise DataError(
                f"time column {time!r} holds days, and {column!r} seems to number the times of each: write "
                f"both into one column; if it names a device, say --task '{task} + {column}'"
            )

    def _several(self) -> list[str]:
        """The free columns whose values may name recordings or devices."""
        few = [one for one in self.free if 2 <= self.frame[one].nunique() <= len(self.frame) / 8]
        return [one for one in few if one != self.file and not is_float(self.frame[one])]

    def _seldom_twice(self, *columns: str) -> bool:
        return bool(self.frame.duplicated(list(columns)).mean() <= SELDOM)

    def _no_clock(self) -> None:
        """A number that comes again and again within a recording, such as an hour, orders no rows."""
        time = self.found.get("time")
        if time is None or "time" in self.given or pd.api.types.is_datetime64_any_dtype(self.frame[time]):
            return
        if not self._seldom_twice(
            *(self.found[key] for key in ("task", "recording", "time") if key in self.found)
        ):
            self._no_order("comes again within a task, and no column parts its runs")

    def _no_order(self, why: str) -> None:
        time = self.found.pop("time")
        self.free.append(time)
        self.left_out["time"] = f"{time!r} {why}: rows keep their order"


def _recur(frame: pd.DataFrame) -> bool:
    """Whether names of files come again in several folders."""
    return _names_files(frame) and bool(frame.groupby(NAME, observed=True)[FOLDER].nunique().gt(1).any())


def _names_files(frame: pd.DataFrame) -> bool:
    """Whether a column says the names of the files, and is none of the recordings that is called so."""
    if not {FILE, FOLDER, NAME} <= {*frame.columns}:
        return False
    if not is_text(frame[FILE]):  # days in the names of folders read as moments
        return True
    return bool((frame[FILE].astype(str).str.rpartition("/")[2] == frame[NAME].astype(str)).all())


def _counting(columns: Iterable[str]) -> list[tuple[str, str]]:
    return [(one, "it rises row by row") for one in columns]
