"""Follow a job's log to its end, over a connection that may break at any time.

Every reconnection reads the log from its beginning and skips what was shown, so nothing is lost or repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from acclimate.training.jobs.job import Job, Jobs, JobState, UnreachableError

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 15.0


def follow(
    jobs: Jobs,
    name: str,
    show: Callable[[str], None],
    *,
    on_state: Callable[[Job], None] = lambda job: None,
    on_trouble: Callable[[str], None] = lambda message: None,
    patience_s: float = 600.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Job:
    """Show a job's log until it ends.

    Args:
        show: gets the log in pieces.
        on_state: called when its state or what the cluster says of it changes.
        on_trouble: called with a line for people when the connection is lost.
        patience_s: how long a cluster may be out of reach.

    Returns:
        The job, ended.

    Raises:
        UnreachableError: for longer than `patience_s`; the job may go on meanwhile.
        TrainingError: there is no such job.
    """
    shown = 0
    seen: Job | None = None
    lost_since: float | None = None
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            job = jobs.get(name)
            if (job.state, job.detail) != (seen and seen.state, seen and seen.detail):
                on_state(job)
                seen = job
            # Once more after the end was seen: only that log is whole.
            if job.state is not JobState.PENDING:
                at = 0
                for piece in jobs.tail(name):
                    new = piece[max(0, shown - at) :]
                    at += len(piece)
                    if new:
                        show(new)
                        shown = at
                        lost_since, wait_s = None, _FIRST_WAIT_S
            if job.state.ended:
                return job
            lost_since, wait_s = None, _FIRST_WAIT_S
        except UnreachableError as error:
            now = clock()
            if lost_since is None:
                lost_since = now
                on_trouble(
                    f"connection lost, and with it whether the job goes on (it does unless the head of its "
                    f"cluster is gone); trying for {patience_s / 60:.0f} min: {error}"
                )
            if now - lost_since > patience_s:
                raise
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        sleep(wait_s)
