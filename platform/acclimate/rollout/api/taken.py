"""Which devices were told to take part in a rollout: noted at the poll, written behind it.

Losing the last second of notes in a crash loses nothing that matters: a device that does not get the answer
asks again, and one that did reports, which says the same.
"""

from __future__ import annotations

from collections.abc import Callable

from acclimate.rollout.domain.assignment import Assignment
from acclimate.rollout.store import Taken


class TakenLog:
    """Notes waiting to be written, each once for this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: list[Taken] = []
        self._known: dict[tuple[str, str], int] = {}

    def told(self, device: str, assignment: Assignment) -> None:
        """Note what a device was told, if that is part of a rollout and new."""
        if assignment.arm is None or assignment.action == "hold" or assignment.release is None:
            return
        key = (assignment.rollout, device)
        if self._known.get(key) == assignment.counter:
            return
        self._known[key] = assignment.counter
        taken = Taken(
            rollout=assignment.rollout,
            device=device,
            arm=assignment.arm,
            wave=assignment.wave,
            counter=assignment.counter,
            content_hash=assignment.release.content_hash,
            at=self._clock(),
        )
        self._waiting.append(taken)

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drop what is known of rollouts that are no longer live."""
        self._known = {key: counter for key, counter in self._known.items() if key[0] in rollouts}

    def drain(self) -> list[Taken]:
        """The notes to write now; on the event loop."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, taken: list[Taken]) -> None:
        """Keep notes that could not be written for the next time."""
        self._waiting[:0] = taken
