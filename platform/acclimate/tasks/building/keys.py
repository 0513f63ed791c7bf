"""The first pass over a source: which tasks, groups, labels and recordings there are, and how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acclimate.errors import DataError
from acclimate.nearest import did_you_mean
from acclimate.tasks.columns.arrays import Categories, Codes, in_order
from acclimate.tasks.columns.clock import Clock, ClockReader
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source

_MOST_HELD = 10_000_000  # pairs of a part and a task


@dataclass(frozen=True)
class Keys:
    """What pass 1 found; encodes the key columns of a batch in pass 2.

    Attributes:
        task_ids: sorted; a task's position is its index in the pool.
        groups: of each task.
        labels: in the order of the outputs; empty if there are none.
        counts: rows of each task.
        holders: codes of the tasks that each part of the source holds; None where nobody asked, or there are
            too many pairs to keep.
    """

    schema: RecordingSchema
    task_ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]
    counts: Codes
    task_codes: Categories
    label_codes: Categories
    recording_codes: Categories
    clock: Clock | None
    holders: Mapping[str, Codes] | None

    def of(self, span: slice) -> Keys:
        """Those of consecutive tasks."""
        return replace(
            self,
            task_ids=self.task_ids[span],
            groups=self.groups[span],
            counts=self.counts[span],
            holders=None,
        )

    def parts_of(self, span: slice) -> frozenset[str] | None:
        """Names of the parts that hold rows of consecutive tasks; None where that was not kept."""
        if self.holders is None:
            return None
        wanted = np.zeros(len(self.task_codes.names), dtype=bool)
        own = set(self.task_ids[span])
        wanted[[code for code, name in enumerate(self.task_codes.names) if name in own]] = True
        return frozenset(part for part, codes in self.holders.items() if wanted[codes].any())

    def tasks_of(self, batch: Any) -> Codes:
        """The task index of each row, -1 where it is none of these."""
        return _ranks(self.task_codes, self.task_ids)[self.task_codes.encode(batch.column(self.schema.task))]

    def labels_of(self, batch: Any) -> Codes:
        """The class index of each row, -1 where there is none."""
        codes = self.label_codes.encode(batch.column(self.schema.label))
        return np.append(_ranks(self.label_codes, self.labels), -1)[codes]

    def recordings_of(self, batch: Any) -> Codes:
        """The recording of each row; a missing name is a recording like others."""
        return self.recording_codes.encode(batch.column(self.schema.recording))


def read_keys(
    source: Source,
    schema: RecordingSchema,
    progress: Callable[[str, int, int], None],
    for_shards: bool = False,
) -> Keys:
    """Read the key columns of `source` once.

    Args:
        for_shards: also know every recording and which part holds which task, for builders that see only
            some of the parts.

    Raises:
        DataError: no row, a row without a task, a task of two groups, or labels that differ from those
            declared.
    """
    tasks, groups = Categories(schema.task), Categories(schema.group or schema.task)
    labels, recordings = Categories(schema.label or ""), Categories(schema.recording or "")
    counts = np.zeros(0, dtype=np.int64)
    owner: dict[int, int] = {}
    reader = ClockReader(schema.time, schema.time_unit_s == 1.0, schema.dates) if schema.time else None
    holders: dict[str, Codes] | None = {} if for_shards else None
    further = schema.recording if for_shards else None
    columns = list(
        dict.fromkeys(filter(None, (schema.task, schema.group, schema.label, schema.time, further)))
    )
    seen = 0
    for batch in source.batches(columns):
        task = tasks.encode(batch.column(schema.task))
        if (task < 0).any():
            raise DataError(
                f"task column {schema.task!r} has {int((task < 0).sum())} row(s) without a value, first "
                f"{batch.where(int(np.argmax(task < 0)))}: fill or remove them"
            )
        counts = np.pad(counts, (0, len(tasks.names) - len(counts)))
        counts += np.bincount(task, minlength=len(counts))
        if holders is not None:
            known = np.union1d(holders.get(batch.part, task[:0]), task)
            holders = _kept(holders | {batch.part: known})
        if further:
            recordings.encode(batch.column(further))
        _own(owner, task, groups.encode(batch.column(groups.column)), tasks, groups)
        if schema.label:
            labels.encode(batch.column(schema.label))
        if reader is not None:
            reader.see(batch.column(reader.column), batch.where)
        seen += batch.num_rows
        progress("reading keys", seen, source.rows)
    if not tasks.names:
        raise DataError(f"{source.name} has no row: there is no task to learn")
    order = np.array(sorted(range(len(tasks.names)), key=lambda code: tasks.names[code]))
    return Keys(
        schema=schema,
        task_ids=tuple(tasks.names[code] for code in order),
        groups=tuple(groups.names[owner[code]] for code in order),
        labels=_declared_or_found(schema, labels.names),
        counts=counts[order],
        task_codes=tasks,
        label_codes=labels,
        recording_codes=recordings,
        clock=None if reader is None else reader.clock(),
        holders=holders,
    )


def _kept(holders: dict[str, Codes]) -> dict[str, Codes] | None:
    return holders if sum(map(len, holders.values())) <= _MOST_HELD else None


def _own(owner: dict[int, int], task: Codes, group: Codes, tasks: Categories, groups: Categories) -> None:
    pairs = np.unique(task * (len(groups.names) + 1) + group + 1)
    for one, of in zip(*np.divmod(pairs, len(groups.names) + 1), strict=True):
        if of == 0:
            raise DataError(f"task {tasks.names[one]!r} has rows without a value in {groups.column!r}")
        if owner.setdefault(int(one), int(of) - 1) != of - 1:
            first, second = groups.names[owner[one]], groups.names[of - 1]
            raise DataError(
                f"task {tasks.names[one]!r} belongs to two groups, {first!r} and {second!r}, in column "
                f"{groups.column!r}: a task has one owner; choose another `group` or `task` column"
            )


def _declared_or_found(schema: RecordingSchema, found: list[str]) -> tuple[str, ...]:
    if schema.label and not found:
        raise DataError(f"label column {schema.label!r} has no value in any row")
    for name in schema.normal:
        if name not in found:
            raise DataError(
                f"normal names label {name!r}, which never occurs in column {schema.label!r}"
                f"; {did_you_mean(name, found, 'the labels are ' + ', '.join(map(repr, found[:10])))}"
            )
    if not schema.labels:
        return tuple(in_order(found))
    for name in schema.labels:
        if name not in found:
            hint = did_you_mean(name, found, f"there are {', '.join(map(repr, list(found)[:10]))}")
            raise DataError(
                f"label {name!r} is declared but never occurs in column {schema.label!r}"
                f" ({hint}); take it out of `labels`, or add recordings of it"
            )
    for name in found:
        if name not in schema.labels:
            hint = did_you_mean(name, schema.labels, f"there are {', '.join(map(repr, schema.labels[:10]))}")
            raise DataError(
                f"label {name!r} occurs in column {schema.label!r} but is not declared"
                f" ({hint}); add it to `labels`, or remove its rows"
            )
    return schema.labels


def _ranks(codes: Categories, names: tuple[str, ...]) -> Codes:
    rank = {name: index for index, name in enumerate(names)}
    return np.array([rank.get(name, -1) for name in codes.names], dtype=np.int64)
