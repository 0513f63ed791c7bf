"""One owner at a time: a folder belongs to one application and one agent, and neither may be doubled.

The claim is a lock of the kernel on an open file: it ends with the process, however that ends. A forked child
does not inherit it.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Literal

from acclimate_device.errors import OwnerError
from acclimate_device.storage.flash import give_to_owner

Role = Literal["application", "agent"]

_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


class Claim:
    """The right to be the application, or the agent, of a state folder; until `release`.

    Args:
        folder: of the state.
        role: as what.

    Raises:
        OwnerError: another process, or another object of this one, has it.
    """

    def __init__(self, folder: Path, role: Role) -> None:
        path = folder / f".{role}"
        self._descriptor: int | None = None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # the flash takes no writes: nothing of another owner can be overwritten
        give_to_owner(descriptor, folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise OwnerError(
                f"{folder} is in use by the {role} of process {owner}: stop that one, or give this device a "
                "state folder of its own"
            ) from None
        except OSError:
            os.close(descriptor)
            return  # a file system without locks: the flash refuses every write there
        self._descriptor = descriptor
        _claims.add(self)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # the flash is full: the lock holds, only its owner's number is not told

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another process have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SameProcess:
    """Knows whether this process is the one that made it, and until when the folder is its own."""

    def __init__(self) -> None:
        self._pid, self._over = os.getpid(), False

    def __bool__(self) -> bool:
        return os.getpid() == self._pid and not self._over

    def end(self) -> None:
        """From now on the folder may be another's."""
        self._over = True

    def check_owner(self) -> None:
        """
        Raises:
            OwnerError: this process was forked from the one that opened the device, or that one closed it.
        """
        self.check()
        if self._over:
            raise OwnerError("this device was closed, its state folder may be another's: open it again")

    def check(self) -> None:
        """
        Raises:
            OwnerError: this process was forked from the one that opened the device.
        """
        if os.getpid() != self._pid:
            raise OwnerError(
                f"this device was opened by process {self._pid}, of which process {os.getpid()} is a fork: "
                "open the device after the fork, each process with a state folder of its own"
            )


def _leave_to_the_parent() -> None:
    """After a fork, in the child: close what would keep the parent's claims alive beyond the parent."""
    for claim in list(_claims):
        claim.release()


os.register_at_fork(after_in_child=_leave_to_the_parent)
