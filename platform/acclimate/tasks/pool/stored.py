"""How a task pool is stored: recordings of many tasks in one memory-mapped layout, opened in milliseconds.

Files of a pool's directory:

- `pool.json`: schema, task ids and groups, labels, what was missing, fingerprints. Written last.
- `values.npy`: `(rows, channels)` or `(rows, *image_shape)`, rows sorted by (task, recording, time); float32,
  float64 where float32 would lose steps, or bytes. Gaps are NaN; who reads windows holds values over them.
- `targets.npy`: `(rows, targets)` float32; absent for classification.
- `rows.npy`: first row of each task, and the total: `(tasks + 1,)`.
- `starts.bin`: int64, first row of each example, sorted by (task, class, time).
- `times.npy`: time of each row, float64; only if a time column is declared.
- `cells.npy`: first entry in `starts` of each cell, and the total: `(tasks * classes + 1,)`. A cell holds
  the examples of one task and class; real targets, and tasks that are one class, have one class.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.initialization import InputSchema
from acclimate.nearest import did_you_mean
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool.info import INFO, STARTS, PoolInfo
from acclimate.tasks.pool.remote.document import opened
from acclimate.tasks.pool.remote.ranged import Ranged

CHUNK_ROWS = 1 << 18
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredPool:
    """The arrays of an open pool; memory-mapped unless it was opened with `mmap=False`.

    Where a pool lies in an object store, the four large arrays are `remote.ranged.Ranged`: they give numpy
    arrays when indexed by rows, and nothing else.
    """

    info: PoolInfo
    values: npt.NDArray[Any] | Ranged
    targets: Floats | Ranged | None
    times: npt.NDArray[np.float64] | Ranged | None
    rows: Indices
    starts: Indices | Ranged
    cells: Indices
    path: Path | str | None

    @classmethod
    def open(cls, path: Path | str, *, mmap: bool = True) -> Self:
        """Open what `build_pool` made; costs milliseconds however large it is.

        Args:
            path: a folder, or the URL of a pool in an object store, of which only what is used is read.
            mmap: else all of it is read into memory, where it is a folder.

        Raises:
            DataError: there is no whole pool at `path`.
            StoreError: the object store does not answer, or does not let us in.
        """
        if is_url(path):
            return cls(**opened(str(path)))
        path = Path(path)
        mode: Any = "r" if mmap else None
        starts = path / STARTS
        try:
            document = json.loads((path / INFO).read_text("utf-8"))
            if "stored" in document:
                return cls(**opened(str(path), document))
            info = PoolInfo.from_dict(document)
            has_targets = info.schema.kind in ("regression", "forecasting")
            return cls(
                info=info,
                values=np.load(path / "values.npy", mmap_mode=mode),
                targets=np.load(path / "targets.npy", mmap_mode=mode) if has_targets else None,
                rows=np.load(path / "rows.npy"),
                times=np.load(path / "times.npy", mmap_mode=mode) if info.schema.time else None,
                starts=np.memmap(starts, np.int64, "r") if mmap else np.fromfile(starts, np.int64),
                cells=np.load(path / "cells.npy"),
                path=path if mmap else None,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a task pool ({error}): build one with `acclimate data build`"
            ) from error

    def __reduce__(self) -> Any:
        """A pool on disk travels to another process as its path, not as its bytes."""
        if self.path is not None:
            return type(self).open, (self.path,)
        return type(self), tuple(self.__dict__[name] for name in self.__dataclass_fields__)

    @property
    def task_ids(self) -> tuple[str, ...]:
        return self.info.task_ids

    @property
    def groups(self) -> tuple[str, ...]:
        return self.info.groups

    @property
    def classes(self) -> int:
        """Cells of a task: its classes, or 1."""
        return max(1, len(self.info.labels))

    @cached_property
    def schema(self) -> InputSchema:
        return self.info.schema.input_schema(self.info.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(features,) for single rows, (channels, time) for windows, (channels, height, width) for images."""
        shape = tuple(self.values.shape[1:])
        schema = self.info.schema
        return shape if schema.history == 1 else (shape[0], len(schema.lags) or schema.window)

    def index(self, task_id: str) -> int:
        """The index of a task by its id, or a DataError with the nearest id."""
        try:
            return self.task_ids.index(task_id)
        except ValueError:
            hint = did_you_mean(task_id, self.task_ids, f"the first is {self.task_ids[0]!r}")
            raise DataError(f"no task is called {task_id!r}; {hint}") from None

    def examples_of(self, task: int) -> int:
        """How many examples a task has."""
        return int(self.cells[(task + 1) * self.classes] - self.cells[task * self.classes])

    def labels_of(self, tasks: Indices) -> tuple[str, ...]:
        if not self.info.labels:
            return ()
        counts = np.diff(self.cells).reshape(-1, self.classes)[tasks].sum(axis=0)
        return tuple(label for label, count in zip(self.info.labels, counts, strict=True) if count)


def is_url(place: Path | str) -> bool:
    """Whether a pool's place is one that fsspec opens, and no folder."""
    return isinstance(place, str) and "://" in place
