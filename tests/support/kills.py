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
            die_at(step)
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


def in_a_child(act: Callable[[], object]) -> int:
    """The exit status of a child that does it; negative is the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(step: int) -> None:
    """From here on, this process dies at its step of that number; there is no way back."""
    _watch(lambda taken: os.kill(os.getpid(), signal.SIGKILL) if taken == step else None)


def steps_of(act: Callable[[], object]) -> int:
    """How many steps `act` takes; in a child, for the watch stays."""
    seen = [0]
    _watch(lambda taken: seen.__setitem__(0, taken))
    act()
    return seen[0]


def _watch(at: Callable[[int], object]) -> None:
    taken = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal taken
        if event in _STEPS and (event != "open" or _writes(arguments)):
            taken += 1
            at(taken)

    sys.addaudithook(count)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or bool(set(str(mode or "")) & set("wax+"))
