"""A process killed at every step that it takes on the file system, one run after another."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.truncate"}


def killed_everywhere(act: Callable[[], object], check: Callable[[int], object], most: int = 400) -> int:
    """Run `act` in a child that dies at its first step, then in one that dies at its second, and so on.

    Args:
        act: what is interrupted; after a kill it is run again as if by the person who saw it end.
        check: is called after each kill, with the number of the step.

    Returns:
        the number of steps, each of which one child did not outlive.
    """
    for step in range(1, most):
        child = os.fork()
        if child == 0:
            _die_at(step)
            try:
                act()
            except BaseException as error:
                print(f"at step {step}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"failed after a kill at step {step - 1}"
            return step - 1
        check(step)
    raise AssertionError(f"more than {most} steps")


def _die_at(step: int) -> None:
    taken = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal taken
        if event not in _STEPS or (event == "open" and not _writes(arguments)):
            return
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or bool(set(str(mode or "")) & set("wax+"))
