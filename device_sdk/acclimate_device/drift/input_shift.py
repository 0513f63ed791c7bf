"""A shift of the inputs, found without labels: block means of a few features against the device's own past.

Neighbouring windows of a sensor resemble each other, so single examples are no independent evidence. Means
over blocks of them nearly are. A block is compared, as a whole, with how inputs were lately and how they were
at this hour on other days (`season.Season`), and the nearest of these counts: what has been seen before at
such an hour is no shift. How far blocks usually are from their nearest is learnt from the device too: two
blocks in a row beyond every one before are a shift.

A small shift that stays, inside what the cycles of days hide, is found by three blocks in a row that are no
shift each, but farther than so many in a row ever were. A shift that creeps is found by days: three
days in a row outside the range of the first week, by its width.

What a device has not seen once, it cannot tell from a shift: the lights that go on for the first time. So it
tells one shift while it learns, and the next one when it knows a week.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acclimate_device.drift.season import Season

_DAY_S = 86_400.0
_WEEK = 7
_LEARNT_DAYS = 8.0
_BLOCK_S = 1800.0
"""A block of rare inputs ends after half an hour: it must not mix hours of a day."""
_FADE = 0.998
"""Of the furthest distance so far, from one block to the next: half is left after a few hundred."""
_IN_A_ROW, _STAYED, _LONGER = 3, 0.58, 1.15
"""So many blocks in a row are a shift where each is farther than this, in shares of a shift's distance, and
than so many times the most that as many in a row have been."""
_SLOW_FADE = 0.9998
"""Of that most, from one block to the next: half is left after some thousand."""
_CREEP = 0.5
"""A creeping shift of less, in the units of the features, is left alone."""
_CREPT_DAYS = 3
_KEPT = (
    *("sums", "in_block", "began", "blocks", "beyond", "squares", "peaks", "last"),
    *("since", "told", "ahead", "latest", "shares", "stayed"),
)
"""What of an InputShift is plain, to be kept as it is."""


class InputShift:
    """Finds inputs that no longer look like those of the device's own past.

    Args:
        block: examples averaged into one piece of evidence.
        reference: latest blocks that say how inputs were lately, and blocks before anything is reported.
        smallest: a shift of less, in the units of the features, is none.
        deviations: how many times the usual distance, of two blocks in a row, a shift is.
        peaks: how many times the largest such distance before a shift is.
        warning_share: share of a shift's distance that is a warning.

    Attributes:
        distance: of the latest block, as a share of what would be a shift.
    """

    def __init__(
        self,
        block: int = 4,
        reference: int = 20,
        smallest: float = 0.15,
        deviations: float = 8.0,
        peaks: float = 1.5,
        warning_share: float = 0.7,
    ) -> None:
        if block < 1 or reference < 2:
            raise ValueError(f"block is {block}, reference {reference}: use at least 1 and 2")
        self.block, self.reference, self.smallest = block, reference, smallest
        self.deviations, self.peaks, self.warning_share = deviations, peaks, warning_share
        self._told = False
        self._ahead = 0.0  # what the clock was set by since the season began
        self._latest = 0.0  # by the clock as it is
        self._resumes_at: float | None = None
        self.reset()

    def reset(self) -> None:
        self.drift_detected = self.warning_detected = False
        self.distance = 0.0
        self._sums: list[float] = []
        self._in_block = 0
        self._began: float | None = None
        self._lately: deque[list[float]] = deque(maxlen=self.reference)
        self._blocks = self._beyond = 0
        self._squares: list[float] = []
        self._peaks: list[float] = []
        self._last: list[float] = []
        self._shares: list[float] = []
        self._stayed = 0.0  # the farthest that blocks in a row have been, all of them
        self._season: Season | None = None
        self._since: float | None = None
        self._days = _Days()

    def leapt(self, seconds: float) -> None:
        """The clock that `at` comes from was set: hours go on as they were counted before."""
        if self._resumes_at is None:
            self._ahead += seconds
            self._latest += seconds

    def state(self) -> dict[str, Any]:
        """Everything that was learnt of the inputs, for JSON: `restore` goes on from it after a restart."""
        return {
            **{name: getattr(self, f"_{name}") for name in _KEPT},
            "distance": self.distance,
            "lately": list(self._lately),
            "season": None if self._season is None else self._season.state(),
            "days": vars(self._days),
        }

    def restore(self, state: Mapping[str, Any], width: int | None = None) -> None:
        """Go on from a `state`, by the hours it counted in.

        A machine without a clock may start years before that: it then compares with the latest inputs alone,
        until its clock is set.

        Args:
            width: how many features will come, if that is known.

        Raises:
            ValueError: it is none; nothing changed.
        """
        fresh = InputShift(
            self.block, self.reference, self.smallest, self.deviations, self.peaks, self.warning_share
        )
        try:
            _check(state)
            if width not in (None, len(state["squares"])):
                raise ValueError("of another number of features")
            for name in _KEPT:
                setattr(fresh, f"_{name}", state[name])
            fresh.distance = float(state["distance"])
            fresh._lately.extend(state["lately"])
            if state["season"] is not None:
                fresh._season = Season(len(state["squares"]))
                fresh._season.restore(state["season"])
            vars(fresh._days).update({name: state["days"][name] for name in vars(fresh._days)})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of an InputShift: {error!r}") from None
        vars(self).update(vars(fresh))
        self._resumes_at = self._latest

    def update(self, x: float | Sequence[float], at: float | None = None) -> None:
        """Take the features of the next example (one number, or always the same count of them).

        Args:
            at: Unix seconds; None where the time is not known: then only the latest inputs are the past.
        """
        if self.drift_detected:
            self.reset()
            self._told = True
        features = x if isinstance(x, Sequence) else (x,)
        if at is not None and self._resumes_at is not None:
            if at < self._resumes_at:
                at = None  # before what was seen before the restart: the clock is yet to be set
            else:
                self._resumes_at = None
        if at is not None:
            self._latest = at
            at -= self._ahead
            self._began = at if self._began is None else self._began
            if self._since is None:
                self._since = at
        if self._sums:
            self._sums = [total + value for total, value in zip(self._sums, features, strict=True)]
        else:
            self._sums = list(features)
        self._in_block += 1
        late = at is not None and self._began is not None and at - self._began >= _BLOCK_S
        if self._in_block == self.block or late:
            self._end_block(at)

    def _end_block(self, at: float | None) -> None:
        means = [total / self._in_block for total in self._sums]
        self._sums, self._in_block, self._began = [], 0, None
        if not self._lately:
            self._squares, self._peaks = [0.0] * len(means), [0.0] * len(means)
            self._season = Season(len(means))
        gaps, self.distance = self._nearest(means, at)
        self._beyond = self._beyond + 1 if self.distance > 1.0 else 0
        if self._told and self._knows(at):
            self._told = False
        ready = self._blocks >= self.reference and not self._told
        crept = at is not None and self._days.add(at, means)
        persists = self._persists(at)
        self.drift_detected = ready and (self._beyond >= 2 or crept or persists)
        self.warning_detected = ready and not self.drift_detected and self.distance > self.warning_share
        if self._beyond == 1 and ready:
            return  # the next block decides what this one was
        self._learn(means, gaps, at)

    def _persists(self, at: float | None) -> bool:
        """Whether blocks have stayed farther from their nearest than blocks ever did for so long."""
        self._shares = [*self._shares[1 - _IN_A_ROW :], self.distance]
        stayed = min(self._shares) if len(self._shares) == _IN_A_ROW else 0.0
        persists = stayed > max(_STAYED, _LONGER * self._stayed)
        self._stayed = max(_SLOW_FADE * self._stayed, stayed)
        return persists and at is not None and self._knows(at)

    def _nearest(self, means: list[float], at: float | None) -> tuple[list[float], float]:
        """Gaps by feature to the most alike past, and the largest of them as a share of its limit."""
        best, distance = [0.0] * len(means), math.inf
        limits = [
            max(self.smallest, self.deviations * math.sqrt(squares), self.peaks * peak)
            for squares, peak in zip(self._squares, self._peaks, strict=True)
        ]
        for past in self._past(at):
            gaps = [abs(one - two) for one, two in zip(means, past, strict=True)]
            share = max(gap / limit for gap, limit in zip(gaps, limits, strict=True))
            if share < distance:
                best, distance = gaps, share
        return best, distance if math.isfinite(distance) else 0.0

    def _past(self, at: float | None) -> Iterable[Sequence[float]]:
        if self._lately:
            yield [math.fsum(column) / len(self._lately) for column in zip(*self._lately, strict=True)]
        if at is not None and self._season is not None:
            yield from self._season.alike(at)

    def _learn(self, means: list[float], gaps: list[float], at: float | None) -> None:
        self._blocks += 1
        if self._lately:
            # a shift is two blocks in a row: what one alone does, as across a step, says nothing of these
            gaps, self._last = [min(pair) for pair in zip(gaps, self._last or gaps, strict=True)], gaps
            share = 1.0 / min(self._blocks, 1000)
            self._squares = [
                old + (gap * gap - old) * share for old, gap in zip(self._squares, gaps, strict=True)
            ]
            self._peaks = [max(_FADE * old, gap) for old, gap in zip(self._peaks, gaps, strict=True)]
        self._lately.append(means)
        if at is not None and self._season is not None:
            self._season.add(at, means)

    def _knows(self, at: float | None) -> bool:
        """Whether the past is long enough to tell what it holds from what it does not."""
        if at is None or self._since is None or at <= self._since:
            return self._blocks >= self.reference
        return at - self._since >= _LEARNT_DAYS * _DAY_S


def _check(state: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError, KeyError, TypeError, AttributeError: a part is not of its kind.
    """
    days, width = state["days"], len(state["squares"])
    rows = [state["squares"], state["peaks"], *state["lately"], *days["_week"]]
    rows += [row for row in (state["last"], state["sums"], days["_sums"]) if row != []]
    numbers = [state[name] for name in ("ahead", "latest", "stayed", "distance")]
    numbers += [one for one in (state["began"], state["since"]) if one is not None]
    counts = [state[name] for name in ("in_block", "blocks", "beyond")] + [days["_count"], days["_outside"]]
    counts += [] if days["_day"] is None else [abs(days["_day"])]
    if any(type(one) is not list for one in (*rows, state["lately"], state["shares"])):
        raise ValueError("rows that are none")
    if any(len(row) != width for row in rows):
        raise ValueError("rows of other lengths")
    numbers += [one for row in (*rows, state["shares"]) for one in row]
    if not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        raise ValueError("numbers that are none")
    if any(type(one) is not int or one < 0 for one in counts) or type(state["told"]) is not bool:
        raise ValueError("counts that are none")
    if bool(state["in_block"]) != bool(state["sums"]) or bool(days["_count"]) != bool(days["_sums"]):
        raise ValueError("sums of nothing")


class _Days:
    """Means of whole days: against the first week's."""

    def __init__(self) -> None:
        self._day: int | None = None
        self._sums: list[float] = []
        self._count = self._outside = 0
        self._week: list[list[float]] = []

    def add(self, at: float, means: Sequence[float]) -> bool:
        """Take a block's means; whether a shift has crept in by the end of the day before."""
        day, crept = int(at // _DAY_S), False
        if day != self._day:
            if self._count:
                crept = self._end([total / self._count for total in self._sums])
            self._day, self._sums, self._count = day, [0.0] * len(means), 0
        self._sums = [total + value for total, value in zip(self._sums, means, strict=True)]
        self._count += 1
        return crept

    def _end(self, means: list[float]) -> bool:
        if len(self._week) < _WEEK:
            self._week.append(means)
            return False
        outside = False
        for value, column in zip(means, zip(*self._week, strict=True), strict=True):
            low, high = min(column), max(column)
            margin = max(_CREEP, high - low)
            outside = outside or not low - margin <= value <= high + margin
        self._outside = self._outside + 1 if outside else 0
        return self._outside >= _CREPT_DAYS
