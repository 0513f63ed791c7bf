"""Many callers at the same moment."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def at_once(work: Callable[[Any], Any], each: Iterable[Any]) -> list[Any]:
    """What `work` gives for each, or the exception that it raises, each in a thread of its own."""
    given = list(each)
    with ThreadPoolExecutor(len(given)) as pool:
        begun = [pool.submit(work, one) for one in given]
        return [one.exception() or one.result() for one in begun]
