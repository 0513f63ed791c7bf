"""What the columns of some recordings mean: the declaration from which a task pool is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import TypeAdapter, ValidationError

from acclimate.errors import DataError
from acclimate.initialization import Beyond, InputSchema, Missing, TaskKind
from acclimate.nearest import did_you_mean
from acclimate.tasks.lags import input_lags, rows_of
from acclimate_device import calendar

Timeline = Literal["task", "label"]
Repeated = Literal["keep", "drop", "error"]
Dates = Literal["day first", "month first", "year first"]

LONGEST_NAME = 128
"""Characters of a channel, label or target: what a device's manifest takes."""

LONGEST_WINDOW = 128
"""Rows of the longest window that a guess proposes where nothing tells that more are worth it."""


@dataclass(frozen=True)
class RecordingSchema:
    """A declaration of columns, windows and targets.

    Attributes:
        kind: what the outputs mean.
        task: column that names the task: device, person, site.
        channels: input columns, in order; or one fixed-size-list column with the values of `image_shape`.
        group: column that names who owns the task and is held out as a whole; default: the task itself.
        time: column that orders the rows of a task; default: the order of the source.
        recording: column that names uninterrupted recordings, which no window crosses.
        label: class column (classification; None if every task is one class), or one that says which rows are
            normal (anomaly), by which a model is judged and never trained.
        normal: labels of normal rows (anomaly); rows without a label are taken as normal.
        labels: class names in the order of the outputs; default: those found, sorted.
        targets: target columns (regression), or columns to forecast.
        window: rows of one example; with `seasons`, the latest of them. Like `stride`, `horizon`, `leads` and
            `seasons` in rows, or in time such as `24h` or `7d` where `sample_rate_hz` is known.
        stride: rows between the starts of two examples; default: half the window.
        horizon: rows ahead that are forecast, all of them unless `leads` names some.
        leads: the rows ahead that are forecast, ascending; the last is the horizon.
        seasons: rows of each season, such as a day and a week: an example holds what was one and two seasons
            before the leads beside the latest `window` rows.
        calendar: cycles of the time column that are inputs too: `day`, `week`, `year`.
        time_unit_s: seconds in a unit of a numeric time column, for the calendar: 3600 for a count of hours.
            Numbers that are seconds, ms, µs or ns since 1970 are known by their size, and read as seconds.
        missing: rows with a missing value: refuse them (`error`), leave out the windows that touch them
            (`drop`), hold the channel's last value (`hold`), or take the value of one season before, else the
            last (`season`). A forecast's targets are never filled in.
        max_gap: a longer pause between two rows starts a new recording; in seconds for timestamps, in the
            column's own unit otherwise.
        timeline: `task`: one clock runs through all of a task, so all support precedes all query. `label`:
            each label was recorded in sessions of its own, so precedence holds within a label.
        image_shape: (channels, height, width) if a row is an image.
        sample_rate_hz: rows a second, if known.
        units: a unit for each channel.
        time_zone: the zone of the clocks behind timestamps without one, such as `Europe/Berlin`.
        dates: what comes first in dates such as 5/6/2026 or 05.06.26, where no row shows it: `day first`,
            `month first` or `year first`.
        repeated: rows that are equal in all that is declared, time included: `keep` them, `drop` all but the
            first, or refuse them (`error`).
        wide: the table has a column for each task, or for each moment: a pattern such as `home_*` or `2026-*`
            of their names, or several as in `WP*|PV*`. `task`, or `time` where the table has the task, and
            the one channel then name what the table does not. Where a row holds a day or a year and a column
            each hour or month of it, `time` is `date + moment`, of which the table has the first.
        readings: the table has a row for each reading: the column that names its channel, and the one that
            holds its value. Even steps (`resample_s`) gather them.
        relative: channels of which a window holds only the rise since its first row: counters.
        beyond: inputs far outside what training saw: held at the edge (`clamp`), refused on the device
            (`refuse`), or taken as they are (`off`).
        resample_s: seconds in an even step, into which rows are gathered, in training and on the device: of a
            channel the mean in each step, of those in `relative` the last value. Steps end at whole multiples
            of their length; one without a row is a gap, and no window reaches over a pause beyond `max_gap`,
            by default a window.
        absent: numbers and words that stand for a missing value in channels and targets, such as -999 or
            `unavailable`.
    """

    kind: TaskKind
    task: str
    channels: tuple[str, ...]
    group: str | None = None
    time: str | None = None
    recording: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    window: int = 1
    stride: int | None = None
    horizon: int = 0
    leads: tuple[int, ...] = ()
    seasons: tuple[int, ...] = ()
    calendar: tuple[str, ...] = ()
    time_unit_s: float = 1.0
    missing: Missing = "error"
    max_gap: float | None = None
    timeline: Timeline = "task"
    image_shape: tuple[int, ...] = ()
    sample_rate_hz: float | None = None
    units: tuple[str, ...] = ()
    time_zone: str | None = None
    dates: Dates | None = None
    repeated: Repeated = "keep"
    wide: str | None = None
    readings: tuple[str, ...] = ()
    relative: tuple[str, ...] = ()
    beyond: Beyond = "clamp"
    absent: tuple[float | str, ...] = ()
    resample_s: float | None = None

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise DataError(problem)

    @property
    def even_step(self) -> float:
        """An even step in the unit of the time column; 0 where rows are taken as they come."""
        return (self.resample_s or 0.0) / self.time_unit_s

    @property
    def pause(self) -> int:
        """Even steps from one row to the next beyond which no window reaches; 0 without even steps."""
        if not self.resample_s:
            return 0
        return self.history if self.max_gap is None else max(1, int(self.max_gap / self.even_step + 1e-6))

    @property
    def longest_pause(self) -> float | None:
        """Beyond which a new recording starts, in the unit of the time column."""
        return (self.pause + 0.5) * self.even_step if self.resample_s else self.max_gap

    @property
    def absent_numbers(self) -> tuple[float, ...]:
        """Of `absent`, what a device must know too."""
        return tuple(float(one) for one in self.absent if not isinstance(one, str))

    @property
    def absent_words(self) -> tuple[str, ...]:
        """Of `absent`, what only files hold."""
        return tuple(one for one in self.absent if isinstance(one, str))

    @property
    def step(self) -> int:
        """Rows between the starts of two examples."""
        return self.stride if self.stride is not None else max(1, self.window // 2)

    @property
    def steps_ahead(self) -> tuple[int, ...]:
        """Rows ahead that are forecast; empty for other kinds."""
        return self.leads or tuple(range(1, self.horizon + 1))

    @cached_property
    def lags(self) -> tuple[int, ...]:
        """Rows before the latest that an input takes, oldest first; empty where it takes all of `window`."""
        return input_lags(self.window, self.seasons, self.steps_ahead) if self.seasons else ()

    @property
    def history(self) -> int:
        """Rows from the oldest that an input touches to the latest."""
        return self.lags[0] + 1 if self.lags else self.window

    @property
    def span(self) -> int:
        """Rows that one example touches, its forecast included."""
        return self.history + self.horizon

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a model's input channels: the declared ones and those of the calendar."""
        return self.channels + calendar.input_names(self.calendar)

    @property
    def holds_in_windows(self) -> bool:
        """Whether gaps stay in the pool, to be held in each window as a device does."""
        return self.missing == "hold" and self.window > 1 and not self.lags

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, once each."""
        keys = (self.task, self.group, self.time, self.recording, self.label)
        return tuple(dict.fromkeys([*filter(None, keys), *self.channels, *self.targets]))

    def check_columns(self, present: Sequence[str]) -> None:
        """Raise a DataError that names a declared column which is not `present`, and its nearest name."""
        for column in self.columns:
            if column not in present:
                hint = did_you_mean(column, present, f"it has {', '.join(map(repr, present[:20]))}")
                raise DataError(f"column {column!r} is not in the data; {hint}")

    def input_schema(self, labels: Sequence[str]) -> InputSchema:
        """What an initialization carries of this declaration."""
        return InputSchema(
            kind=self.kind,
            channels=self.inputs,
            units=self.units and self.units + ("",) * (len(self.inputs) - len(self.channels)),
            window=self.history,
            sample_rate_hz=self.sample_rate_hz,
            labels=tuple(labels),
            targets=self.targets,
            horizon=self.horizon,
            leads=self.leads,
            lags=self.lags,
            seasons=self.seasons,
            calendar=self.calendar,
            time_unit_s=self.time_unit_s,
            missing=self.missing,
            relative=self.relative,
            beyond=self.beyond,
            absent=self.absent_numbers,
            step_s=self.resample_s or 0.0,
            pause=self.pause,
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @staticmethod
    def from_dict(declared: Mapping[str, Any]) -> RecordingSchema:
        """From JSON or YAML types.

        Raises:
            DataError: an unknown key, a value of a wrong type, or parts that do not fit together.
        """
        known = [one.name for one in fields(RecordingSchema)]
        for key in declared:
            if key not in known:
                hint = did_you_mean(str(key), known, f"there are {', '.join(known)}")
                raise DataError(f"{key!r} is no key of a recording's declaration; {hint}")
        try:
            in_rows = _in_rows(declared)
            schema: RecordingSchema = TypeAdapter(RecordingSchema).validate_python(in_rows)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"declaration of the recordings: {where}: {first['msg']}") from error
        return schema


def _in_rows(declared: Mapping[str, Any]) -> dict[str, Any]:
    """The declaration with lengths of time as rows; a horizon that only `leads` tell is their last."""
    in_rows, rate, step = dict(declared), declared.get("sample_rate_hz"), declared.get("resample_s")
    if rate is None and isinstance(step, int | float) and step > 0:
        rate = in_rows["sample_rate_hz"] = 1 / step
    for key in ("window", "stride", "horizon"):
        if isinstance(in_rows.get(key), str):
            in_rows[key] = rows_of(key, in_rows[key], rate)
    for key in ("leads", "seasons"):
        if isinstance(in_rows.get(key), Sequence) and not isinstance(in_rows[key], str):
            in_rows[key] = tuple(rows_of(key, one, rate) for one in in_rows[key])
    if in_rows.get("leads") and not in_rows.get("horizon"):
        in_rows["horizon"] = in_rows["leads"][-1]
    return in_rows


def _problems(schema: RecordingSchema) -> list[str]:
    problems = []
    if not schema.channels:
        problems.append("channels is empty: name at least one input column")
    if schema.window < 1:
        problems.append(f"window is {schema.window}: it must be at least 1 row")
    if schema.step < 1:
        problems.append(f"stride is {schema.stride}: it must be at least 1 row")
    if schema.kind == "classification" and schema.targets:
        problems.append("targets are for regression and forecasting: declare `label` for classification")
    if schema.kind == "anomaly":
        problems += _problems_of_anomalies(schema)
    elif schema.kind != "classification" and not schema.targets:
        problems.append(f"targets is empty: name the column(s) that {schema.kind} should predict")
    if schema.kind in ("regression", "forecasting") and (schema.label or schema.labels):
        problems.append(f"label is for classification, not for {schema.kind}: declare `targets`")
    if (schema.kind == "forecasting") != (schema.horizon > 0):
        problems.append(f"horizon is {schema.horizon}: forecasting needs at least 1 row, other kinds 0")
    if schema.units and len(schema.units) != len(schema.channels):
        problems.append(f"units has {len(schema.units)} entries for {len(schema.channels)} channels")
    if schema.image_shape and (len(schema.channels) != 1 or schema.window != 1):
        problems.append("image_shape needs one list column in `channels` and a window of 1")
    if schema.max_gap is not None and schema.time is None:
        problems.append("max_gap needs a `time` column")
    problems += [*_problems_of_time(schema), *_problems_of_inputs(schema)]
    for name, value, allowed in (
        ("kind", schema.kind, ("classification", "regression", "forecasting", "anomaly")),
        ("missing", schema.missing, ("error", "drop", "hold", "season")),
        ("repeated", schema.repeated, ("keep", "drop", "error")),
        ("beyond", schema.beyond, ("off", "clamp", "refuse")),
        ("timeline", schema.timeline, ("task", "label")),
    ):
        if value not in allowed:
            problems.append(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")
    return problems


def _problems_of_anomalies(schema: RecordingSchema) -> list[str]:
    problems = []
    if schema.targets:
        problems.append("targets are for regression and forecasting: what is normal has none")
    if schema.label and not schema.normal:
        problems.append(f"normal is empty: name the labels of column {schema.label!r} that are normal")
    if schema.normal and not schema.label:
        problems.append("normal names labels, but there is no `label` column")
    if schema.labels and not set(schema.normal) <= set(schema.labels):
        problems.append(f"normal names {list(schema.normal)}, which `labels` does not")
    if schema.timeline == "label":
        problems.append("timeline is 'label': what is normal is learned along one clock, use 'task'")
    return problems


def _problems_of_time(schema: RecordingSchema) -> list[str]:
    problems = []
    if (schema.leads or schema.seasons) and schema.kind != "forecasting":
        problems.append(f"leads and seasons are for forecasting, not for {schema.kind}")
    if schema.leads and (
        list(schema.leads) != sorted(set(schema.leads))
        or schema.leads[0] < 1
        or schema.leads[-1] != schema.horizon
    ):
        problems.append(
            f"leads are {list(schema.leads)} and the horizon is {schema.horizon}: list rows ahead from 1 on, "
            "ascending, the horizon last"
        )
    if any(season < 2 for season in schema.seasons):
        problems.append(f"seasons are {list(schema.seasons)}: a season takes at least 2 rows")
    for cycle in schema.calendar:
        if cycle not in calendar.CYCLES:
            problems.append(f"calendar names {cycle!r}: there are {', '.join(calendar.CYCLES)}")
    if schema.calendar and schema.time is None:
        problems.append("calendar needs a `time` column")
    if schema.calendar and schema.image_shape:
        problems.append("calendar is for channels of numbers, not for images")
    if schema.resample_s is not None and not schema.resample_s > 0:
        problems.append(f"resample_s is {schema.resample_s}: it must be above 0")
    elif schema.resample_s and (schema.time is None or schema.image_shape):
        problems.append("resample_s needs a `time` column, and channels of numbers")
    elif schema.resample_s and abs((schema.sample_rate_hz or 0.0) * schema.resample_s - 1) > 0.01:
        problems.append(
            f"resample_s is {schema.resample_s:g} and sample_rate_hz {schema.sample_rate_hz}: leave the rate "
            "out"
        )
    if schema.missing == "season" and not schema.seasons:
        problems.append("missing is 'season', but `seasons` names none: name one, or use 'hold'")
    if not schema.time_unit_s > 0:
        problems.append(f"time_unit_s is {schema.time_unit_s}: it must be above 0")
    return problems


def _problems_of_inputs(schema: RecordingSchema) -> list[str]:
    problems = []
    for name in (*schema.channels, *schema.labels, *schema.targets):
        if len(name) > LONGEST_NAME:
            problems.append(f"{name!r} has {len(name)} characters, a device takes {LONGEST_NAME}: rename it")
    for name in schema.relative:
        if name not in schema.channels or schema.window == 1:
            problems.append(f"relative names {name!r}: it must be a channel, and the window above 1 row")
    if schema.time_zone is not None and not _is_zone(schema.time_zone):
        problems.append(f"time_zone is {schema.time_zone!r}: give a name such as Europe/Berlin")
    if schema.readings and (len(schema.readings) != 2 or not schema.resample_s):
        problems.append(
            "readings names two columns, of channels' names and of values, and needs `resample_s`"
        )
    if schema.wide is not None and not schema.readings and len(schema.channels) != 1:
        problems.append("wide needs exactly one name in `channels`: what the table's columns hold")
    return problems


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
