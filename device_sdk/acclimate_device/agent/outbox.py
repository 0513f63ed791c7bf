"""Hands in what waits in the queue, and puts into it what the agent itself has to tell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from acclimate_device.agent.service import Service
from acclimate_device.errors import TransportError
from acclimate_device.protocol import LIMITS, PROBLEM_PREFIX, Report
from acclimate_device.storage import Boot, Mishap
from acclimate_device.telemetry import ReportQueue, moment, told

logger = logging.getLogger(__name__)

_TOO_LONG = 413
_UNFIT = (400, _TOO_LONG, 422)
"""Statuses that say something of what was sent, not of the network or the service."""


class Outbox:
    """The reports of one device on their way to the service.

    Args:
        queue: shared with the application.
        service: takes them.
        clock: Unix seconds.
        new_id: makes report ids.
    """

    def __init__(
        self, queue: ReportQueue, service: Service, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._queue, self._service = queue, service
        self._clock, self._new_id = clock, new_id
        self.unfit = 0

    def send(self) -> int:
        """Send what waits; how many reports the service settled.

        A report that the service cannot even read is dropped and counted in `unfit`: it must not stay in the
        way of those behind it.

        Raises:
            TransportError: the service cannot be reached; nothing is lost.
            StorageError: the queue cannot be read.
        """
        settled = 0
        while batch := self._queue.next_batch():
            done = self._settle(batch.reports)
            if not done:
                raise TransportError("the receipt settles none of the reports that were sent")
            self._queue.acknowledge(batch, done)
            settled += len(done)
        return settled

    def tell(self, report: Report) -> None:
        """Queue a report of the agent's own."""
        self._queue.add(report)

    def tell_mishaps(self, mishaps: Sequence[Mishap], boot: Boot) -> None:
        """Queue a report of what was found damaged, under the version that runs, if that is known."""
        for one in mishaps:
            logger.warning("event=%s record=%r detail=%s", one.kind, one.name, one.detail)
        running = boot.trial or boot
        if not mishaps or running.release is None:
            return
        now = moment(self._clock())
        events = tuple(told(now, one.kind, one.name, one.detail) for one in mishaps)
        self._queue.add(
            Report(
                id=self._new_id(),
                started_at=now,
                ended_at=now,
                release=running.release,
                counter=boot.counter,
                slot=boot.trial.slot if boot.trial else boot.good,
                events=events[: LIMITS.report_events],
                events_dropped=max(0, len(events) - LIMITS.report_events),
            )
        )

    def _settle(self, reports: tuple[Report, ...]) -> set[str]:
        """Send reports, in halves where the service cannot read them all, or whoever is between lets no more
        through at once; the ids that are done with."""
        try:
            receipt = self._service.report(reports)
        except TransportError as error:
            too_long = error.status == _TOO_LONG and not error.problem
            unfit = error.status in _UNFIT and error.problem.startswith(PROBLEM_PREFIX)
            if not unfit and not too_long:
                raise
            if len(reports) == 1 and too_long:
                logger.warning("event=report_too_long id=%s error=%s", reports[0].id, error)
                return set()  # it waits; those behind it go
            if len(reports) == 1:
                self.unfit += 1
                logger.warning("event=report_unfit id=%s error=%s", reports[0].id, error)
                return {reports[0].id}
            middle = len(reports) // 2
            return self._settle(reports[:middle]) | self._settle(reports[middle:])
        for refusal in receipt.refused:
            logger.warning("event=report_refused id=%s detail=%s", refusal.id, refusal.detail)
        done = {*receipt.accepted} | {refusal.id for refusal in receipt.refused}
        return done & {report.id for report in reports}
