"""A first guess of what the columns of unknown recordings mean, with the reason for each guess.

Only a sample is read: the first rows of every batch, so that each stretch in it is uninterrupted. What is
guessed is a declaration for `RecordingSchema.from_dict`, to be read and corrected by a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from acclimate.errors import DataError
from acclimate.tasks.sources import BATCH_ROWS, Source

SAMPLE_ROWS = 400_000
MOST_LABELS = 50
LONGEST_WINDOW = 128
EXAMPLES_WANTED = 40  # of a task; more rows make windows longer

LONG_STRETCH = 1024  # rows of a recording from which on it is a signal, not a table

_SECONDS = {
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
}  # in a time column's name
_TASK = "device sensor machine unit asset turbine pump vehicle robot meter node station site plant house room"
_TASK += " home server host well battery account customer person people subject user participant patient"
_TASK += " wearer serial system mac imei batch id"
_TIME = "timestamp datetime time ts t epoch seconds hour_index cycle step tick minute hour day date"
_RECORDING = "recording session run trial segment sequence bout"
_LABEL = (
    "label class activity state status fault failure mode exercise gesture condition category event anomaly"
)
_TARGET = "target y rul remaining"
_COUNTER = "index row idx unnamed level i id"  # what tools leave behind, no measurements
_PART = "split subset fold partition"  # of an experiment someone made, not of the world


@dataclass(frozen=True)
class Guess:
    """A declaration and why it says what it says.

    Attributes:
        declaration: keys of `RecordingSchema`, as YAML types.
        reasons: by key, in the order of the declaration.
        left_out: why each column that is not used is not.
    """

    declaration: dict[str, Any]
    reasons: dict[str, str]
    left_out: dict[str, str]


def guess(source: Source, given: Mapping[str, Any]) -> Guess:
    """Guess the declaration of `source`; what is `given` (task, time, label, target, window, rate) is kept.

    Raises:
        DataError: a given column is not there, no column can be the task, or none can be a channel.
    """
    for key in ("task", "time", "label", "target"):
        if key in given and given[key] not in source.columns:
            raise DataError(
                f"--{key} {given[key]!r} is no column: there are {', '.join(map(repr, source.columns))}"
            )
    frame = sample(source)
    return _Guesser(frame, given, len(frame) / source.rows).guess()


def sample(source: Source, rows: int = SAMPLE_ROWS) -> pd.DataFrame:
    """About `rows` rows of all scalar columns: the first part of every batch, in equal shares."""
    columns = [name for name, type_ in source.types.items() if not pa.types.is_nested(type_)]
    if not columns:
        raise DataError(f"{source.name}: holds lists only; declare `image_shape` in a recipe of your own")
    share = min(1.0, rows / max(1, source.rows))
    pieces = []
    for batch in source.batches(columns):
        some = max(1, round(share * batch.num_rows))
        arrays = [_scalars(batch.column(name).slice(0, some)) for name in columns]
        pieces.append(pa.table(arrays, names=columns).to_pandas())
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()
    if frame.empty:
        raise DataError(f"{source.name}: holds no row")
    return frame


def _scalars(values: Any) -> Any:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


class _Guesser:
    """Takes columns out of `free` one role after another; the roles that names tell best come first."""

    def __init__(self, frame: pd.DataFrame, given: Mapping[str, Any], share: float) -> None:
        self.frame, self.given, self.share = frame, given, share
        self.free = list(frame.columns)
        self.found: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.stretch_rows = len(frame)  # between two pauses

    def guess(self) -> Guess:
        self._task()
        self._column("time", self._time())
        named = (one for one in self._named(_RECORDING) if self.frame[one].nunique() > 1)
        self._column("recording", next(((one, "its name says so") for one in named), None))
        self._aim()
        left_out = self._channels()
        self._aim_without_target()
        self._clock()
        self._pace()
        self._window()
        self._quality()
        order: tuple[str, ...] = (
            "kind",
            "task",
            "time",
            "recording",
            "label",
            "targets",
            "channels",
            "window",
            "horizon",
        )
        order += ("sample_rate_hz", "max_gap", "missing", "timeline")
        declaration = {key: self.found[key] for key in order if key in self.found}
        return Guess(declaration, {key: self.reasons.get(key, "") for key in declaration}, left_out)

    def _set(self, key: str, value: Any, reason: str) -> None:
        self.found[key], self.reasons[key] = value, reason

    def _column(self, role: str, best: tuple[str, str] | None) -> None:
        if role in self.given:
            best = str(self.given[role]), "as you said"
        if best is not None:
            self._set(role, best[0], best[1])
            self.free.remove(best[0])

    def _named(self, words: str) -> Iterator[str]:
        """The free columns with one of `words` in their name, in the order of the words."""
        for word in words.split():
            yield from (one for one in self.free if word in _words(one) or word == str(one).lower())

    def _task(self) -> None:
        best = None
        repeated = [one for one in self.free if 2 <= self.frame[one].nunique() <= len(self.frame) / 2]
        named = [one for one in self._named(_TASK) if one in repeated and not _is_float(self.frame[one])]
        if named:
            best = named[0], f"its name says so; {self.frame[named[0]].nunique()} of them in the sample"
        else:
            unlike = set(self._named(f"{_LABEL} {_TARGET} {_RECORDING} {_TIME} {_PART}"))
            texts = [one for one in repeated if _is_text(self.frame[one]) and one not in unlike]
            if texts:
                best = (
                    texts[0],
                    f"text with {self.frame[texts[0]].nunique()} values; check that it is the device",
                )
        if best is None and "task" not in self.given:
            raise DataError(
                "no column looks like a device, person or site, and each of them is one task: name it with "
                f"--task; there are {', '.join(map(repr, self.frame.columns))}"
            )
        self._column("task", best)

    def _time(self) -> tuple[str, str] | None:
        stamps = [one for one in self.free if pd.api.types.is_datetime64_any_dtype(self.frame[one])]
        if stamps:
            return stamps[0], "it holds timestamps"
        numbers = [one for one in self._named(_TIME) if pd.api.types.is_numeric_dtype(self.frame[one])]
        if numbers:
            return numbers[0], "its name says so"
        counts = (one for one in self.free if self._counts_rows(one))
        return next(((one, "it rises row by row") for one in counts), None)

    def _counts_rows(self, column: str) -> bool:
        """Whether whole numbers rise by the same step nearly everywhere, as the number of a sample does."""
        values = self.frame[column]
        if not pd.api.types.is_integer_dtype(values):
            return False
        steps = np.diff(values.to_numpy())
        usual = np.median(steps)
        return bool(usual > 0 and (steps == usual).mean() > 0.95)

    def _aim(self) -> None:
        """What is to be predicted, if a column shows it: classes or a number."""
        if "target" in self.given:
            target = str(self.given["target"])
            self.free.remove(target)
            self._set("kind", "regression", f"you named the target {target}")
            self._set("targets", [target], "as you said")
            return
        best = None
        parts = set(self._named(_PART))
        texts = [one for one in self.free if self._is_class(one) and one not in parts]
        for column in [*self._named(_LABEL), *self._named(_TARGET), *texts]:
            values = self.frame[column]
            if not 2 <= values.nunique() <= MOST_LABELS or _is_float(values):
                continue
            best = column, f"{values.nunique()} classes: {', '.join(map(str, values.dropna().unique()[:6]))}"
            break
        self._column("label", best)
        if "label" in self.found:
            self._set("kind", "classification", f"column {self.found['label']!r} holds classes")
            return
        numbers = [one for one in self._named(_TARGET) if pd.api.types.is_numeric_dtype(self.frame[one])]
        if numbers:
            self.free.remove(numbers[0])
            self._set("kind", "regression", f"column {numbers[0]!r} is named like a target and holds numbers")
            self._set("targets", [numbers[0]], "its name says so")

    def _is_class(self, column: str) -> bool:
        return _is_text(self.frame[column]) or pd.api.types.is_bool_dtype(self.frame[column])

    def _channels(self) -> dict[str, str]:
        left_out, channels = {}, []
        for column in self.free:
            values = self.frame[column]
            if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
                left_out[column] = f"holds {values.dtype}, not numbers"
            elif _words(column) & set(_COUNTER.split()):
                left_out[column] = "is named like a counter or an identifier"
            elif values.nunique() < 2:
                left_out[column] = "never changes"
            else:
                channels.append(column)
        still = self._still(channels)
        left_out |= dict.fromkeys(still, "stands still within every recording: it names one")
        channels = [column for column in channels if column not in still]
        if not channels:
            raise DataError(
                "no numeric column is left as an input channel: "
                + "; ".join(f"{name!r} {why}" for name, why in left_out.items())
            )
        self._set("channels", channels, "every other numeric column")
        return left_out

    def _still(self, channels: list[str]) -> list[str]:
        """Of signals, channels that never move within a recording, such as a gain or a file's number."""
        keys = [self.found[key] for key in ("task", "recording", "label") if key in self.found]
        if len(keys) < 2:
            return []
        groups = self.frame.groupby(keys, observed=True)
        if groups.size().median() < LONG_STRETCH:
            return []
        distinct = groups[channels].nunique()
        return [column for column in channels if (distinct[column] <= 1).all()]

    def _aim_without_target(self) -> None:
        if "kind" in self.found:
            return
        target = max(self.found["channels"], key=lambda one: self.frame[one].nunique())
        self._set("kind", "forecasting", "no column looks like a label or a target")
        self._set("targets", [target], "the channel with most values; name what you want to forecast")

    def _clock(self) -> None:
        """A clock that starts again for each label: sorting by it alone would shuffle the labels together."""
        label, task = self.found.get("label"), self.found["task"]
        if label is None or "time" not in self.found or "recording" in self.found:
            return
        stored = sum(len(_runs(rows[label])) for _, rows in self.frame.groupby(task, observed=True))
        if sum(len(_runs(rows[label])) for rows in self._tasks()) > 4 * stored:
            self._set("recording", label, "the clock starts again for each label")

    def _window(self) -> None:
        """A window that leaves every task enough examples and seldom spans two labels."""
        sizes = self.frame.groupby(self.found["task"], observed=True).size()
        rows = int(np.median(sizes) / self.share)
        longest, reason = rows // (EXAMPLES_WANTED // 2), f"tasks have about {rows} rows"
        most = LONGEST_WINDOW
        if "label" in self.found:
            stretch = self._label_rows()
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
        if "window" in self.given:
            window, reason = int(self.given["window"]), "as you said"
        self._set("window", window, reason)
        if self.found["kind"] == "forecasting":
            self._set("horizon", max(1, window // 4), "rows ahead; a quarter of the window")

    def _label_rows(self) -> int:
        """Rows that a label lasts, also where the sample's pieces cut it short."""
        stretch = float(
            np.median(np.concatenate([_runs(task[self.found["label"]]) for task in self._tasks()]))
        )
        piece = self.share * min(BATCH_ROWS, len(self.frame) / self.share)
        return int(stretch / self.share if stretch >= piece / 2 else stretch)

    def _quality(self) -> None:
        used = [*self.found["channels"], *self.found.get("targets", [])]
        absent = int(self.frame[used].isna().sum().sum())
        if absent:
            self._set("missing", "drop", f"{absent} values are missing in the sample; or `hold` the last")
        label = self.found.get("label")
        if label and all(len(_runs(one[label])) <= one[label].nunique() for one in self._tasks()):
            self._set("timeline", "label", "each label was recorded in one stretch of its own")

    def _pace(self) -> None:
        time = self.found.get("time")
        if "rate" in self.given:
            self._set("sample_rate_hz", float(self.given["rate"]), "as you said")
        if time is None:
            return
        stamps = pd.api.types.is_datetime64_any_dtype(self.frame[time])
        tasks = list(self._tasks())
        steps = np.concatenate([self._steps(task, time, stamps) for task in tasks])
        if len(steps) == 0:
            return
        usual = float(np.median(steps))
        unit = 1.0 if stamps else next((_SECONDS[one] for one in _SECONDS if one in _words(time)), None)
        if unit is not None and "rate" not in self.given:
            apart = usual * unit
            self._set("sample_rate_hz", float(f"{1 / apart:.4g}"), f"rows are {apart:.4g} s apart")
        pauses = int((steps > 10 * usual).sum())
        if pauses:
            self.stretch_rows = len(self.frame) // (pauses + len(tasks))
            self._set("max_gap", float(f"{5 * usual:.4g}"), f"{pauses} longer pauses: no window crosses one")

    def _steps(self, task: pd.DataFrame, time: str, stamps: bool) -> npt.NDArray[np.float64]:
        """Times between neighbouring rows of one recording, those above 0."""
        clock = task[time]
        seconds = clock.astype("int64") / _ticks(clock) if stamps else clock
        steps = np.diff(seconds.to_numpy(dtype=float))
        if "recording" in self.found:
            codes, _ = pd.factorize(task[self.found["recording"]])
            steps = steps[np.diff(codes) == 0]
        return steps[steps > 0]

    def _tasks(self) -> Iterator[pd.DataFrame]:
        frame = self.frame
        keys = [self.found[key] for key in ("recording", "time") if key in self.found]
        if keys:
            frame = frame.sort_values(keys, kind="stable")
        return (rows for _, rows in frame.groupby(self.found["task"], observed=True))


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


def _runs(values: pd.Series) -> npt.NDArray[np.int64]:
    """Lengths of the stretches of equal values."""
    codes, _ = pd.factorize(values)
    ends = np.flatnonzero(np.diff(codes)) + 1
    return np.diff(np.concatenate([[0], ends, [len(codes)]]))


def _ticks(stamps: pd.Series) -> float:
    """Units of the timestamp's integers in a second."""
    return float(pd.Timedelta(seconds=1) / pd.Timedelta(1, unit=getattr(stamps.dt, "unit", "ns")))


def _words(column: str) -> set[str]:
    """The words of a column's name: `deviceId2` and `device_id` have `device` and `id`."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(column))
    words: Sequence[str] = re.findall(r"[a-z]+", spaced.lower())
    return {*words, *(word.removesuffix("s") for word in words), *(word.removesuffix("id") for word in words)}


def _is_text(values: pd.Series) -> bool:
    return bool(
        pd.api.types.is_object_dtype(values)
        or pd.api.types.is_string_dtype(values)
        or isinstance(values.dtype, pd.CategoricalDtype)
    )


def _is_float(values: pd.Series) -> bool:
    """Whether it holds numbers with fractions; whole numbers stored as floats are codes."""
    return bool(pd.api.types.is_float_dtype(values) and (values.dropna() % 1 != 0).any())
