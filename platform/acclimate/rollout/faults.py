"""What fails apart from everything else: one rollout, one fleet, one exporter.

Trouble of one tenant must never become everybody's. Whoever does the same work for many does each piece
inside `Faults.apart`: what is raised there is logged, counted and shown, and the next piece is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """A piece of work that fails at present.

    Attributes:
        part: what kind of work, such as `rollout`; few values, for metrics.
        subject: which piece, such as the rollout's id.
        error: the latest error, in one line.
        since: Unix seconds of the first failure in a row.
        times: failures in a row.
    """

    part: str
    subject: str
    error: str
    since: float
    times: int = 1


class Faults:
    """The faults of one process; safe to share between threads.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._current: dict[tuple[str, str], Fault] = {}
        self._lock = threading.Lock()

    @contextmanager
    def apart(
        self,
        part: str,
        subject: str = "",
        passing: tuple[type[BaseException], ...] = (),
        show: Callable[[Fault], None] = lambda fault: None,
    ) -> Iterator[None]:
        """Keep what is raised inside from what comes after.

        Args:
            passing: exceptions that are the caller's business and no fault.
            show: is told the first failure in a row, to note it where people look; what it raises is logged.
        """
        try:
            yield
        except passing:
            raise
        except Exception as error:
            self._failed(part, subject, error, show)
        else:
            self._passed(part, subject)

    def counts(self) -> dict[str, int]:
        """How often each part failed since the process started."""
        with self._lock:
            return dict(self._counts)

    def current(self) -> list[Fault]:
        """What fails now, the oldest first."""
        with self._lock:
            return sorted(self._current.values(), key=lambda fault: (fault.since, fault.part, fault.subject))

    def forget_all_but(self, part: str, subjects: set[str]) -> None:
        """Drop the faults of pieces that are no longer worked on."""
        with self._lock:
            gone = [key for key in self._current if key[0] == part and key[1] not in subjects]
            for key in gone:
                del self._current[key]

    def _failed(self, part: str, subject: str, error: Exception, show: Callable[[Fault], None]) -> None:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        with self._lock:
            known = self._current.get((part, subject))
            fault = (
                replace(known, error=text, times=known.times + 1)
                if known
                else Fault(part, subject, text, self._clock())
            )
            self._current[part, subject] = fault
            self._counts[part] += 1
        # The first with its trace; those that follow (no database for an hour) in a line.
        trace = None if known else error
        told = {"part": part, "subject": subject, "error": text}
        log.error("fault", extra=told, exc_info=trace)
        if known is None:
            try:
                show(fault)
            except Exception as unseen:
                log.warning("fault-not-shown", extra=told | {"error": unseen})

    def _passed(self, part: str, subject: str) -> None:
        with self._lock:
            known = self._current.pop((part, subject), None)
        if known is not None:
            log.info("fault-ended", extra={"part": part, "subject": subject, "times": known.times})
