"""Submit a job once, to a cluster that may still be starting and over a connection that may break."""

from __future__ import annotations

import time
from collections.abc import Callable

from acclimate.errors import TrainingError
from acclimate.training.jobs.job import Job, Jobs, Order, UnreachableError

_WAIT_S = 3.0


def submit_once(
    jobs: Jobs,
    order: Order,
    *,
    patience_s: float = 180.0,
    on_wait: Callable[[UnreachableError], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Job:
    """Submit, and try again while the cluster does not take jobs yet.

    The job has its name before it is sent, so one whose acknowledgement was lost is found, not sent twice.

    Args:
        on_wait: told why, before each further attempt.

    Raises:
        UnreachableError: the cluster takes no job within `patience_s`.
        TrainingError: it refuses this one.
    """
    end = clock() + patience_s
    while True:
        try:
            return jobs.submit(order)
        except UnreachableError as why:
            if clock() > end:
                raise
            on_wait(why)
        sleep(_WAIT_S)
        try:
            return jobs.get(order.name)
        except TrainingError:  # not there, or still out of reach
            continue
