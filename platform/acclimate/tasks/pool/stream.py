"""One task's examples in the order in which its device would meet them: for online learning and drift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.initialization import Normalization
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.windows import read_inputs, read_targets

CHUNK = 256


class StreamExample(NamedTuple):
    """One example as numpy, for code that runs without torch.

    Attributes:
        x: input, `(*input_shape,)` float32.
        y: class index int64 `()`, or real targets `(outputs,)` float32.
        row: the row of the pool at which the example's input is complete, so that inputs of one stretch that
            lie its length apart share none.
        time: of that row, if the pool has a time column.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    row: int
    time: float | None


def stream(pool: TaskPool, task: int, normalization: Normalization | None = None) -> Iterator[StreamExample]:
    """Iterate the examples of one task in time order, without loading it whole.

    Recordings follow each other by their first time, so where each label was recorded in a session of its
    own, labels come in blocks.

    Args:
        task: index in the pool, e.g. `pool.index("person-03-right")`.
        normalization: of the initialization that is used; None leaves values as recorded.
    """
    starts, classes = timeline(pool, task)
    last = pool.info.schema.history - 1
    for begin in range(0, len(starts), CHUNK):
        part = starts[begin : begin + CHUNK]
        x = read_inputs(pool, part, normalization)
        y = (
            classes[begin : begin + CHUNK]
            if pool.targets is None
            else read_targets(pool, part, normalization)
        )
        for index, row in enumerate((part + last).tolist()):
            time = None if pool.times is None else float(pool.times[row])
            yield StreamExample(x[index], np.asarray(y[index]), row, time)


def timeline(pool: TaskPool, task: int) -> tuple[Indices, Indices]:
    """First rows and classes of all examples of a task in time order, (examples,) each."""
    if not 0 <= task < len(pool.task_ids):
        raise DataError(f"task {task} is not in the pool: it has {len(pool.task_ids)} tasks, counted from 0")
    cells = pool.cells[task * pool.classes : (task + 1) * pool.classes + 1]
    starts = np.asarray(pool.starts[cells[0] : cells[-1]])
    classes = np.repeat(np.arange(pool.classes), np.diff(cells))
    order = np.argsort(starts)
    return starts[order], classes[order]
