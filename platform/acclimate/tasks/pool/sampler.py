"""Draw episodes from a task pool: all of a meta-batch in a few array operations.

Support precedes query: a cell (a task's examples of one class) is cut once, into the examples that end
before the cut and those that begin at least `gap` rows after it. An example that straddles the cut serves
neither, so overlapping windows never leak from support into query. A forecast's query is made after the cut,
from whatever its device knew by then: its input may reach back before the cut, what it forecasts does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from acclimate.errors import DataError
from acclimate.initialization import InputSchema, Normalization
from acclimate.tasks.episodes import EpisodePlan, Episodes, Examples, Indices
from acclimate.tasks.episodes.randomness import Domain, Floats, distinct_tasks, generator, subsets, uniforms
from acclimate.tasks.episodes.variation import Variation, fewer, newest, variation
from acclimate.tasks.pool.remote.ranged import fetched
from acclimate.tasks.pool.stored import StoredPool
from acclimate.tasks.pool.windows import read_inputs, read_targets

_AT_A_TIME = 1 << 22


class Halves(NamedTuple):
    """Where support ends and query begins in each cell, as entries of it, (tasks of the pool, classes)."""

    support: Indices
    query: Indices
    size: Indices


@dataclass(frozen=True, eq=False)
class PoolSampler:
    """Episodes of some tasks of a pool. Make one with `TaskPool.sampler`.

    Attributes:
        tasks: indices of the usable tasks: those with a support and a query example of the same class.
        unusable: indices of the tasks that were asked for and left out.
    """

    pool: StoredPool
    tasks: Indices
    unusable: Indices
    plan: EpisodePlan
    normalization: Normalization | None
    seed: int
    halves: Halves

    @staticmethod
    def over(
        pool: StoredPool, tasks: Indices, plan: EpisodePlan, normalization: Normalization | None, seed: int
    ) -> PoolSampler:
        """See `TaskPool.sampler`."""
        tasks = np.asarray(tasks, dtype=np.int64)
        _check_plan(pool, plan)
        halves = cut_cells(pool, plan)
        both = np.minimum(halves.support, halves.size - halves.query)[tasks] > 0
        usable = both.any(axis=1)
        least = plan.ways or 1
        if int(usable.sum()) < least:
            raise DataError(
                f"{int(usable.sum())} of {len(tasks)} task(s) are usable and {least} are needed: a task "
                f"needs a support and a query example of a class, {pool.info.schema.span} rows each and "
                f"{plan.gap} between them; shorten the window, stride or gap, or run `acclimate data report`"
            )
        return PoolSampler(pool, tasks[usable], tasks[~usable], plan, normalization, seed, halves)

    @cached_property
    def schema(self) -> InputSchema:
        schema = self.pool.schema
        if self.plan.ways is None:
            return schema
        return replace(schema, labels=tuple(f"way {way}" for way in range(self.plan.ways)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.pool.input_shape

    @property
    def outputs(self) -> int:
        if self.schema.kind == "classification":
            return len(self.schema.labels)
        if self.schema.kind == "anomaly":
            return 1
        return len(self.schema.targets) * max(1, len(self.pool.info.schema.steps_ahead))

    def episodes(self, step: int, indices: Sequence[int]) -> Episodes:
        if self.plan.ways is None:
            positions = distinct_tasks(self.seed, step, indices, len(self.tasks))[:, None]
        else:
            drawn = uniforms(self.seed, Domain.TASKS, step, indices, 2 * self.plan.ways)
            positions = _shuffled(drawn, len(self.tasks))
        return self._draw(Domain.EXAMPLES, step, indices, self.tasks[positions])

    def every_task(self, draw: int = 0) -> Episodes:
        """One episode of every usable task; where a task is one class, of disjoint random sets of `ways`."""
        if self.plan.ways is None:
            return self._draw(Domain.EVALUATION, draw, self.tasks.tolist(), self.tasks[:, None])
        order = generator(self.seed, Domain.TASKS, draw, -1).permutation(len(self.tasks))
        sets = order[: len(order) // self.plan.ways * self.plan.ways].reshape(-1, self.plan.ways)
        return self._draw(Domain.EVALUATION, draw, range(len(sets)), self.tasks[sets])

    def _draw(self, domain: Domain, step: int, indices: Sequence[int], tasks: Indices) -> Episodes:
        """`tasks` is (episodes, 1), or (episodes, ways) where a task is one class."""
        shots, query_shots = self.plan.shots, self.plan.query_shots
        cells = (tasks[:, :, None] * self.pool.classes + np.arange(self.pool.classes)).reshape(len(tasks), -1)
        per_cell = 2 * (shots + query_shots) + 1
        drawn = uniforms(self.seed, domain, step, indices, cells.shape[1] * per_cell)
        varied = variation(self.plan, self.seed, step, indices, cells.shape[1])
        entries = self._entries(cells.reshape(-1), drawn.reshape(-1, per_cell), varied)
        support, query = (self._examples(cells, part) for part in (entries[:, :shots], entries[:, shots:]))
        ids = tuple("|".join(self.pool.task_ids[task] for task in row) for row in tasks.tolist())
        return Episodes(support, query, ids)

    def _entries(self, cells: Indices, drawn: Floats, varied: Variation | None) -> Indices:
        """Entries of each cell to use, (cells, shots + query shots), -1 for padding."""
        shots, both = self.plan.shots, self.plan.shots + self.plan.query_shots
        size, until, begin = (
            part.reshape(-1)[cells] for part in (self.halves.size, self.halves.support, self.halves.query)
        )
        if self.plan.order == "time":
            support = subsets(drawn[:, :shots], until)
            query = subsets(drawn[:, shots:both], size - begin)
            entries = np.concatenate([support, np.where(query < 0, -1, query + begin[:, None])], axis=1)
        else:
            entries = _apart(drawn, size, _apart_stride(self.pool), shots)
        if varied is None:
            return entries
        entries[:, :shots] = fewer(entries[:, :shots], drawn[:, both : both + shots], varied.shots)
        whole = newest(self.plan, (until, begin, size), drawn, varied)
        return np.where(varied.newest[:, None], whole, entries)

    def _examples(self, cells: Indices, entries: Indices) -> Examples:
        episodes, classes = cells.shape
        used = entries >= 0
        first = self.pool.cells[cells.reshape(-1)]
        places = np.where(used, first[:, None] + entries, 0)
        fetched(self.pool.starts, places, places)
        starts = self.pool.starts[places]
        weights = used.reshape(episodes, -1).astype(np.float32)
        x = read_inputs(self.pool, starts.reshape(episodes, -1), self.normalization)
        x[weights == 0] = 0
        return Examples(
            torch.from_numpy(x),
            torch.from_numpy(self._targets(starts.reshape(episodes, -1), classes)),
            torch.from_numpy(weights),
        )

    def _targets(self, starts: Indices, classes: int) -> npt.NDArray[Any]:
        if self.pool.targets is None:
            of_class = np.repeat(np.arange(classes), starts.shape[1] // classes)
            return np.broadcast_to(of_class, starts.shape).copy()
        return read_targets(self.pool, starts, self.normalization)


def _check_plan(pool: StoredPool, plan: EpisodePlan) -> None:
    one_class = pool.schema.kind == "classification" and not pool.schema.labels
    if one_class and plan.ways is None:
        raise DataError("every task of this pool is one class: set `ways`, the classes of an episode")
    if plan.ways is not None and not one_class:
        raise DataError(
            f"ways is {plan.ways}, but the tasks of this pool are no single classes: leave `ways` out"
        )


def cut_cells(pool: StoredPool, plan: EpisodePlan) -> Halves:
    """Cut every cell of a pool in two: at the support fraction of its timeline, or not at all (`random`)."""
    size = np.diff(pool.cells)
    if plan.order == "random":
        usable = np.where(size > _apart_stride(pool), size, 0)
        return Halves(*(part.reshape(-1, pool.classes) for part in (usable, np.zeros_like(size), size)))
    cut = [_cut_tasks(pool, plan, span) for span in _readable(pool)]
    support, query = (np.concatenate(part) for part in zip(*cut, strict=True))
    return Halves(*(part.reshape(-1, pool.classes) for part in (support, query, size)))


def _readable(pool: StoredPool) -> Iterator[slice]:
    """Tasks whose starts are read at a time: all where they are here, else about `_AT_A_TIME` of them."""
    first = pool.cells[:: pool.classes]
    if isinstance(pool.starts, np.ndarray):
        yield slice(0, len(first) - 1)
        return
    begin = 0
    while begin < len(first) - 1:
        end = int(np.searchsorted(first, first[begin] + _AT_A_TIME, side="right")) - 1
        end = min(max(end, begin + 1), len(first) - 1)
        yield slice(begin, end)
        begin = end


def _cut_tasks(pool: StoredPool, plan: EpisodePlan, tasks: slice) -> tuple[Indices, Indices]:
    """Entries of each cell of consecutive tasks before support ends, and before query begins."""
    cells = pool.cells[tasks.start * pool.classes : tasks.stop * pool.classes + 1]
    starts = pool.starts[int(cells[0]) : int(cells[-1])]
    cells = cells - cells[0]
    rows, size = pool.rows[tasks.start : tasks.stop + 1], np.diff(cells)
    looks_back = pool.info.schema.history - 1 if pool.info.schema.horizon else 0
    if pool.info.schema.timeline == "label" or pool.classes == 1:
        at = cells[:-1] + (size * plan.support_fraction).astype(np.int64)
        cut = np.where(size > 0, _at(starts, at) + looks_back, 0)
    else:
        length = (np.diff(rows) * plan.support_fraction).astype(np.int64)
        cut = np.repeat(rows[:-1] + length, pool.classes)
    support = _entries_before(starts, cells, cut - pool.info.schema.span + 1)
    query = _entries_before(starts, cells, cut + plan.gap - looks_back)
    return support, query


def _at(starts: Indices, entries: Indices) -> Indices:
    """What is at some entries; anything at those past the end."""
    return starts[np.minimum(entries, len(starts) - 1)] if len(starts) else np.zeros_like(entries)


def _entries_before(starts: Indices, cells: Indices, row: Indices) -> Indices:
    """How many entries of each cell start before `row` of that cell: all cells bisected in lockstep."""
    low, high = cells[:-1].copy(), cells[1:].copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        before = open_ & (_at(starts, middle) < row)
        low = np.where(before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return low - cells[:-1]


def _apart_stride(pool: StoredPool) -> int:
    """Entries of a cell this far apart share no row: starts of a cell differ by at least the stride."""
    return -(-pool.info.schema.span // pool.info.schema.step)


def _apart(drawn: Floats, size: Indices, apart: int, shots: int) -> Indices:
    """Random entries of each cell that share no row, support first, (cells, shots + query shots)."""
    wanted = (drawn.shape[1] - 1) // 2
    phase = (drawn[:, -1] * np.minimum(apart, np.maximum(size, 1))).astype(np.int64)
    population = np.maximum(0, -(-(size - phase) // apart))
    entries = subsets(drawn[:, :wanted], population)
    taken = entries >= 0
    entries = np.where(taken, entries * apart + phase[:, None], -1)
    keys = np.where(taken, drawn[:, wanted:-1], 2.0)
    mixed = np.take_along_axis(entries, np.argsort(keys, axis=1), axis=1)
    support = np.minimum(shots, taken.sum(axis=1) // 2)
    column = np.arange(wanted)
    return np.concatenate(
        [
            np.where(column[:shots] < support[:, None], mixed[:, :shots], -1),
            _rest(mixed, support, wanted - shots),
        ],
        axis=1,
    )


def _rest(mixed: Indices, support: Indices, count: int) -> Indices:
    """What follows the first `support` entries of each row, padded with -1 to `count`."""
    column = support[:, None] + np.arange(count)
    rest = np.take_along_axis(mixed, np.minimum(column, mixed.shape[1] - 1), axis=1)
    return np.where(column < mixed.shape[1], rest, -1)


def _shuffled(drawn: Floats, population: int) -> Indices:
    """A random subset of each row in random order, (rows, half the columns)."""
    half = drawn.shape[1] // 2
    chosen = subsets(drawn[:, :half], np.full(len(drawn), population))
    return np.take_along_axis(chosen, np.argsort(drawn[:, half:], axis=1), axis=1)
