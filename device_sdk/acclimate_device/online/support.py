"""The bounded support: by class for classification, with a part held back to judge adaptation by."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, zip_longest
from typing import NamedTuple

import numpy as np

from acclimate_device.online.schema import Float, Schema, Target
from acclimate_device.runtime import Batch


class Example(NamedTuple):
    """A labelled example in the recorded units; `order` rises with each one."""

    order: int
    x: Float
    target: Target


@dataclass
class _Shelf:
    """One class's examples."""

    support: deque[Example]
    held_back: deque[Example]
    seen: int = 0


@dataclass
class Support:
    """What a device learns from. Its size is bounded: by class the newest `shots` and `held_back`.

    Attributes:
        schema: of the bundle in use.
        shots: support examples by class, or in all for real targets.
        held_back: held-back examples by class, or in all.
        hold_back: every how-manieth example is held back.
    """

    schema: Schema
    shots: int
    held_back: int
    hold_back: int
    _shelves: dict[Hashable, _Shelf] = field(default_factory=dict)
    _order: count[int] = field(default_factory=count)

    def add(self, x: Float, target: Target) -> None:
        """Keep one checked example."""
        self._place(Example(next(self._order), x, target))

    def __len__(self) -> int:
        return sum(len(shelf.support) for shelf in self._shelves.values())

    def judges(self) -> list[Example]:
        """The held-back examples."""
        return [example for shelf in self._shelves.values() for example in shelf.held_back]

    def in_order(self) -> list[Example]:
        """Everything, in the order in which it came."""
        shelves = self._shelves.values()
        everything = chain.from_iterable((*shelf.support, *shelf.held_back) for shelf in shelves)
        return sorted(everything, key=lambda example: example.order)

    def keep_newest(self, number: int) -> None:
        """Forget all but the newest examples; those all go into the support."""
        everything = self.in_order()
        self._shelves.clear()
        for example in everything[-number:] if number else []:
            self._shelf(example.target).support.append(example)

    def batches(self, size: int) -> list[Batch]:
        """The support in batches of `size`, classes taking turns, the last one padded with weight 0."""
        turns = zip_longest(*(shelf.support for shelf in self._shelves.values()))
        mixed = [example for turn in turns for example in turn if example is not None]
        return [self._batch(mixed[start : start + size], size) for start in range(0, len(mixed), size)]

    def moved_to(self, schema: Schema, shots: int) -> Support:
        """The same examples under a new bundle's schema: those it has a label for, none if inputs differ."""
        moved = Support(schema, shots, self.held_back, self.hold_back)
        if schema.shape != self.schema.shape or schema.classification != self.schema.classification:
            return moved
        if not schema.classification and schema.output.targets != self.schema.output.targets:
            return moved
        known = {label: index for index, label in enumerate(schema.output.labels)}
        placed = [
            (part, example)
            for shelf in self._shelves.values()
            for part in ("support", "held_back")
            for example in getattr(shelf, part)
        ]
        # in the order in which they came: heads in closed form forget, and what comes last counts most
        for part, example in sorted(placed, key=lambda one: one[1].order):
            target = example.target
            if schema.classification:
                label = self.schema.output.labels[target]
                if label not in known:
                    continue
                target = known[label]
            getattr(moved._shelf(target), part).append(Example(next(moved._order), example.x, target))
        return moved

    def _place(self, example: Example) -> None:
        shelf = self._shelf(example.target)
        shelf.seen += 1
        part = shelf.held_back if shelf.seen % self.hold_back == 0 else shelf.support
        part.append(example)

    def _shelf(self, target: Target) -> _Shelf:
        key: Hashable = target if isinstance(target, int) else None
        if key not in self._shelves:
            self._shelves[key] = _Shelf(deque(maxlen=self.shots), deque(maxlen=self.held_back))
        return self._shelves[key]

    def _batch(self, examples: Sequence[Example], size: int) -> Batch:
        missing = size - len(examples)
        padded = [*examples, *([examples[0]] * missing)]
        x = self.schema.normalize(np.stack([example.x for example in padded]))
        y = self.schema.normalize_targets([example.target for example in padded])
        w = np.ones(size, np.float32)
        w[len(examples) :] = 0.0
        return Batch(x, y, w)
