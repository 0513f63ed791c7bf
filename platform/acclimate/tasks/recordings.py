"""What the columns of some recordings mean: the declaration from which a task pool is built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from acclimate.errors import DataError
from acclimate.initialization import InputSchema, TaskKind

Missing = Literal["error", "drop", "hold"]
Timeline = Literal["task", "label"]


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
        label: class column (classification); None if every task is one class.
        labels: class names in the order of the outputs; default: those found, sorted.
        targets: target columns (regression), or columns to forecast.
        window: rows of one example.
        stride: rows between the starts of two examples; default: half the window.
        horizon: rows ahead that are forecast, all of them.
        missing: rows with a missing value: refuse them (`error`), leave out the windows that touch them
            (`drop`), or hold the channel's last value (`hold`).
        max_gap: a longer pause between two rows starts a new recording; in seconds for timestamps, in the
            column's own unit otherwise.
        timeline: `task`: one clock runs through all of a task, so all support precedes all query. `label`:
            each label was recorded in sessions of its own, so precedence holds within a label.
        image_shape: (channels, height, width) if a row is an image.
        sample_rate_hz: rows a second, if known.
        units: a unit for each channel.
    """

    kind: TaskKind
    task: str
    channels: tuple[str, ...]
    group: str | None = None
    time: str | None = None
    recording: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    window: int = 1
    stride: int | None = None
    horizon: int = 0
    missing: Missing = "error"
    max_gap: float | None = None
    timeline: Timeline = "task"
    image_shape: tuple[int, ...] = ()
    sample_rate_hz: float | None = None
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise DataError(problem)

    @property
    def step(self) -> int:
        """Rows between the starts of two examples."""
        return self.stride if self.stride is not None else max(1, self.window // 2)

    @property
    def span(self) -> int:
        """Rows that one example touches, its forecast included."""
        return self.window + self.horizon

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, once each."""
        keys = (self.task, self.group, self.time, self.recording, self.label)
        return tuple(dict.fromkeys([*filter(None, keys), *self.channels, *self.targets]))

    def check_columns(self, present: Sequence[str]) -> None:
        """Raise a DataError that names a declared column which is not `present`, and its nearest name."""
        for column in self.columns:
            if column not in present:
                near = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, present[:20]))}"
                )
                raise DataError(f"column {column!r} is not in the data; {hint}")

    def input_schema(self, labels: Sequence[str]) -> InputSchema:
        """What an initialization carries of this declaration."""
        return InputSchema(
            kind=self.kind,
            channels=self.channels,
            units=self.units,
            window=self.window,
            sample_rate_hz=self.sample_rate_hz,
            labels=tuple(labels),
            targets=self.targets,
            horizon=self.horizon,
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
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise DataError(f"{key!r} is no key of a recording's declaration; {hint}")
        try:
            schema: RecordingSchema = TypeAdapter(RecordingSchema).validate_python(dict(declared))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"declaration of the recordings: {where}: {first['msg']}") from error
        return schema


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
    if schema.kind != "classification" and not schema.targets:
        problems.append(f"targets is empty: name the column(s) that {schema.kind} should predict")
    if schema.kind != "classification" and (schema.label or schema.labels):
        problems.append(f"label is for classification, not for {schema.kind}: declare `targets`")
    if (schema.kind == "forecasting") != (schema.horizon > 0):
        problems.append(f"horizon is {schema.horizon}: forecasting needs at least 1 row, other kinds 0")
    if schema.units and len(schema.units) != len(schema.channels):
        problems.append(f"units has {len(schema.units)} entries for {len(schema.channels)} channels")
    if schema.image_shape and (len(schema.channels) != 1 or schema.window != 1):
        problems.append("image_shape needs one list column in `channels` and a window of 1")
    if schema.max_gap is not None and schema.time is None:
        problems.append("max_gap needs a `time` column")
    for name, value, allowed in (
        ("kind", schema.kind, ("classification", "regression", "forecasting")),
        ("missing", schema.missing, ("error", "drop", "hold")),
        ("timeline", schema.timeline, ("task", "label")),
    ):
        if value not in allowed:
            problems.append(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")
    return problems
