"""What a task pool says of itself: the document that is written last, wherever the pool lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acclimate.errors import DataError
from acclimate.tasks.recordings import RecordingSchema

FORMAT = 2
INFO = "pool.json"
STARTS = "starts.bin"


@dataclass(frozen=True)
class PoolInfo:
    """What `pool.json` holds.

    Attributes:
        fingerprint: of the source and the schema: an equal one makes a rebuild unnecessary.
        content_hash: SHA-256 of the arrays: the lineage of a model trained on them.
        missing: missing values by column, as found in the source.
        missing_tasks: tasks that have missing values, with their number of rows that do.
        possible: examples that each task would have if nothing were missing.
        intake: what was detected, converted, moved or left out on the way in, a line each.
        dated: times are seconds since 1970.
    """

    schema: RecordingSchema
    labels: tuple[str, ...]
    task_ids: tuple[str, ...]
    groups: tuple[str, ...]
    fingerprint: str
    content_hash: str = ""
    missing: dict[str, int] = field(default_factory=dict)
    missing_tasks: dict[str, int] = field(default_factory=dict)
    possible: tuple[int, ...] = ()
    intake: tuple[str, ...] = ()
    dated: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **self.__dict__, "schema": self.schema.as_dict()}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> PoolInfo:
        if fields.pop("format", None) != FORMAT:
            raise DataError("this pool has another format version: build it again")
        schema = RecordingSchema(**_with_tuples(fields.pop("schema")))  # checked when the pool was built
        return PoolInfo(schema=schema, **_with_tuples(fields))


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
