"""Independent jobs side by side: in this process, or on Ray with a core each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_POLL_S = 0.5  # how soon a wish to stop is heard


def fan_out(
    run: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int,
    address: str | None,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[str, Result]]:
    """Results by name as they come; fewer than asked for if it was stopped.

    Args:
        run: a function of a module, so that other processes can import it.
        workers: jobs at a time; 0 runs them here, one after the other.
        address: of a Ray cluster; None starts Ray on this machine.

    Raises:
        AcclimateError: what `run` raises for a user to mend; other jobs are given up.
    """
    if workers == 0:
        for name, job in jobs.items():
            if should_stop():
                return
            yield name, run(job)
        return
    import ray  # half a second, that those who have no workers do without

    from acclimate.training.ray_connection import connected, result_of

    with connected(address, workers):
        running: dict[Any, str] = {}
        try:
            remote = ray.remote(num_cpus=1)(run)
            waiting = iter(jobs.items())
            while True:
                while len(running) < workers and (following := next(waiting, None)) is not None:
                    running[remote.remote(following[1])] = following[0]
                if not running or should_stop():
                    return
                done, _ = ray.wait(list(running), timeout=_POLL_S)
                for reference in done:
                    yield running.pop(reference), result_of(reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
