"""Ctrl-C and SIGTERM ask for a stop between steps; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether to stop; called between steps.

    Attributes:
        number: the signal that asked for it; None so far.
    """

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, as shells report it; 0 after SIGTERM, by which clusters end a pod in order."""
        return 0 if self.number == signal.SIGTERM else 128 + signal.SIGINT


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Give what tells whether to stop; handlers are set in the main thread only and put back."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request():
            raise KeyboardInterrupt
        request.number = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever runs inside may set handlers for these signals; afterwards they are as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
