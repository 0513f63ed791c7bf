"""What devices' sensors record: one endless feed of labelled examples for each device.

A feed is the device's own task and can become another one of its group, which is real drift: the watch on
the other arm, the sensor mounted anew.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from acclimate.errors import ScenarioError
from acclimate.simulation.scenario import StreamSection
from acclimate_device.testing import GestureDevice
from acclimate_device.testing.gestures import LABELS

Float = npt.NDArray[np.float32]
Example = tuple[Float, Any]
"""An input in the recorded units, and its label or targets."""


class Feed(Protocol):
    """One device's examples, without end."""

    @property
    def task(self) -> str:
        """The task they are of, for people."""

    def next(self) -> Example:
        """The next one."""

    def move(self) -> None:
        """Become another task of the same group."""


class Streams(Protocol):
    """Where the feeds of a fleet come from."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that may come; empty for real targets."""

    def feed(self, device: int, rng: random.Random) -> Feed:
        """The feed of a device; the same for the same number and the same `rng`."""


def open_streams(section: StreamSection) -> Streams:
    """The streams a scenario names.

    Raises:
        ScenarioError: no task fits, or the data cannot be streamed.
        DataError: there is no such data.
    """
    if section.source == "gestures":
        if section.options or section.tasks or section.order != "time":
            raise ScenarioError(
                "stream.source 'gestures' is generated as it goes: leave out options, tasks and order, "
                "which are for recordings"
            )
        return Gestures()
    from acclimate.tasks import TaskPool, open_tasks

    pool = open_tasks(section.source, options=section.options)
    if not isinstance(pool, TaskPool):
        raise ScenarioError(f"stream.source {section.source!r} is no recording: name one with a timeline")
    return Recorded(pool, section)


class Gestures:
    """The generated family of `acclimate_device.testing`: every device mounted in its own way."""

    labels = LABELS

    def feed(self, device: int, rng: random.Random) -> Feed:
        return _GestureFeed(rng.getrandbits(32))


class _GestureFeed:
    def __init__(self, seed: int) -> None:
        self._device, self._mounting = GestureDevice(seed), 1

    @property
    def task(self) -> str:
        return f"mounting-{self._mounting}"

    def next(self) -> Example:
        x, label = self._device.example()
        return np.asarray(x, np.float32), label

    def move(self) -> None:
        self._device.mount_anew()
        self._mounting += 1


class Recorded:
    """Tasks of a pool. Where there are more devices than tasks, several replay one task from other places.

    Raises:
        ScenarioError: a pattern fits no task, or the order does not fit the data.
    """

    def __init__(self, pool: Any, section: StreamSection) -> None:
        self._pool, self._section = pool, section
        self._tasks = _chosen(pool.task_ids, section.tasks)
        self.labels: tuple[str, ...] = tuple(pool.info.labels)
        if section.order != "time" and not pool.info.labels:
            raise ScenarioError(f"stream.order {section.order!r} needs labels: use 'time' for real targets")
        self._examples = cache(self._read)

    def feed(self, device: int, rng: random.Random) -> Feed:
        return _RecordedFeed(self, self._tasks[device % len(self._tasks)], rng.random())

    def name(self, task: int) -> str:
        """The task's id."""
        return str(self._pool.task_ids[task])

    def examples(self, task: int) -> Sequence[Example]:
        """All examples of a task in the scenario's order."""
        return self._examples(task)

    def other(self, task: int) -> int:
        """The next task of the same group, or the next of the pool where it is alone."""
        groups, tasks = self._pool.groups, range(len(self._pool.task_ids))
        same = [one for one in tasks if groups[one] == groups[task]]
        ring = same if len(same) > 1 else list(tasks)
        return ring[(ring.index(task) + 1) % len(ring)]

    def _read(self, task: int) -> Sequence[Example]:
        from acclimate.tasks import stream

        labels = self._pool.info.labels
        read = [(one.x, labels[int(one.y)] if labels else one.y) for one in stream(self._pool, task)]
        if not read:
            raise ScenarioError(f"task {self.name(task)!r} has no example: leave it out of stream.tasks")
        return read if self._section.order == "time" else interleaved(read, self._section.order == "rounds")


class _RecordedFeed:
    def __init__(self, recorded: Recorded, task: int, place: float) -> None:
        self._recorded, self._task = recorded, task
        self._at = int(place * len(recorded.examples(task)))

    @property
    def task(self) -> str:
        return self._recorded.name(self._task)

    def next(self) -> Example:
        examples = self._recorded.examples(self._task)
        self._at = (self._at + 1) % len(examples)
        return examples[self._at]

    def move(self) -> None:
        self._task = self._recorded.other(self._task)


def interleaved(examples: Sequence[Example], whole_rounds: bool = False) -> list[Example]:
    """Every label in turn, each label's examples in their order; labels that run out are left out, or, with
    `whole_rounds`, end it."""
    by_label: dict[Any, list[Example]] = {}
    for example in examples:
        by_label.setdefault(example[1], []).append(example)
    turns = (min if whole_rounds else max)(map(len, by_label.values()))
    return [one[turn] for turn in range(turns) for one in by_label.values() if turn < len(one)]


def _chosen(task_ids: Sequence[str], patterns: Sequence[str]) -> list[int]:
    for pattern in patterns:
        if not any(fnmatchcase(task, pattern) for task in task_ids):
            raise ScenarioError(
                f"stream.tasks: no task fits {pattern!r}; the first are {', '.join(task_ids[:5])}"
            )
    return [
        index
        for index, task in enumerate(task_ids)
        if not patterns or any(fnmatchcase(task, pattern) for pattern in patterns)
    ]
