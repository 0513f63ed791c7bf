"""Work beside the requests: each task runs for ever, a failure is logged and counted, and it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from acclimate.rollout.api.metrics import ServiceMetrics

log = logging.getLogger(__name__)
Work = Callable[[], Awaitable[None]]


class Background:
    """The tasks of one process."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, interval_s: float, name: str, work: Work) -> None:
        """Run `work` again and again with a rest of `interval_s` seconds."""
        self._tasks.append(asyncio.create_task(self._repeat(interval_s, name, work), name=name))

    async def stop(self) -> None:
        """End all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, interval_s: float, name: str, work: Work) -> None:
        failing = False
        while True:
            try:
                await work()
                if failing:
                    log.info("background-recovered", extra={"task": name})
                failing = False
            except Exception as error:
                self._metrics.background_failures.labels(name).inc()
                # The first failure with its trace; those that follow (no database for an hour) in a line.
                trace = None if failing else error
                about = {"task": name, "error": repr(error)}
                log.warning("background-failed", extra=about, exc_info=trace)
                failing = True
            await asyncio.sleep(interval_s)
