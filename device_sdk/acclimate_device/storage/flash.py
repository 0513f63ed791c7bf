"""Flash as this package uses it: a few calls, each of which may be the last before the power goes.

Nothing is durable until it is synced: contents by `sync`, names (creations, renames, deletions) by
`sync_names`. Everything above relies on these calls alone, so `acclimate_device.testing` can cut the power at
each of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from acclimate_device.errors import StorageError

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
_PATIENCE_S = 10.0


class Flash(Protocol):
    """A flat store of named byte strings. Names are relative paths with `/`."""

    def read(self, name: str) -> bytes | None:
        """The contents, or None if there is no such name."""

    def size(self, name: str) -> int | None:
        """Length in bytes, or None if there is no such name."""

    def names(self, prefix: str) -> list[str]:
        """All names that start with `prefix`, sorted."""

    def write(self, name: str, data: bytes) -> None:
        """Create or overwrite; not durable yet."""

    def append(self, name: str, data: bytes) -> None:
        """Create or extend; not durable yet."""

    def sync(self, name: str) -> None:
        """Make the contents of `name` durable."""

    def rename(self, old: str, new: str) -> None:
        """Give `old` the name `new` in one step, replacing what has it; not durable yet."""

    def delete(self, name: str) -> None:
        """Remove the name if it is there; not durable yet."""

    def sync_names(self, prefix: str) -> None:
        """Make creations, renames and deletions in the folder of `prefix` durable."""

    def lock(self) -> AbstractContextManager[object]:
        """Keep other threads and processes that use the same flash out of a read-change-write.

        A thread that holds it may take it again.
        """


class FileFlash:
    """A folder of a POSIX file system.

    Args:
        root: the folder; it is created, readable by its owner only.

    Raises:
        StorageError: the folder or a file in it cannot be read or written (from every method).
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._held = threading.RLock()
        self._depth = 0
        with _as_storage_error(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self, name: str) -> bytes | None:
        path = self.root / name
        with _as_storage_error(path):
            try:
                # a folder or a pipe in a file's place holds nothing, and must not be waited for
                return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b""
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        with _as_storage_error(self.root / name):
            try:
                return (self.root / name).stat().st_size
            except FileNotFoundError:
                return None

    def names(self, prefix: str) -> list[str]:
        found = []
        with _as_storage_error(self._folder(prefix)):
            for folder, _, files in os.walk(self._folder(prefix), onerror=_raise_unless_gone):
                found += [(Path(folder) / file).relative_to(self.root).as_posix() for file in files]
        return sorted(name for name in found if name.startswith(prefix))

    def write(self, name: str, data: bytes) -> None:
        self._put(name, data, os.O_TRUNC)

    def append(self, name: str, data: bytes) -> None:
        self._put(name, data, os.O_APPEND)

    def sync(self, name: str) -> None:
        self._fsync(self.root / name)

    def rename(self, old: str, new: str) -> None:
        with _as_storage_error(self.root / new):
            self._make_folder(self.root / new)
            os.replace(self.root / old, self.root / new)

    def delete(self, name: str) -> None:
        with _as_storage_error(self.root / name):
            (self.root / name).unlink(missing_ok=True)

    def sync_names(self, prefix: str) -> None:
        if self._folder(prefix).exists():
            self._fsync(self._folder(prefix))

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self._held:
            descriptor = self._lock_file() if self._depth == 0 else None
            self._depth += 1
            try:
                if descriptor is not None:
                    self._wait_for(descriptor)
                yield
            finally:
                self._depth -= 1
                if descriptor is not None:
                    with contextlib.suppress(OSError):
                        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has it open too
                    os.close(descriptor)

    def _lock_file(self) -> int | None:
        """None where there is none and none can be made, because nobody may write here.

        Raises:
            StorageError: it cannot be opened, for another reason.
        """
        path = self.root / ".lock"
        with _as_storage_error(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                give_to_owner(descriptor, self.root)
                return descriptor
            except OSError:
                if path.exists():
                    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if os.access(self.root, os.W_OK):
                    raise
                return None

    def _wait_for(self, descriptor: int) -> None:
        """Take the lock. Who has it for long is stopped or hangs: nobody else is to hang with it."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise StorageError(
                        f"{self.root}: another process has had it locked for {_PATIENCE_S:g} s: does it hang?"
                    ) from None
                time.sleep(0.005)
            except OSError as error:
                raise StorageError(
                    f"{self.root}: its file system has no locks ({error.strerror}): use a local one"
                ) from None

    def _folder(self, prefix: str) -> Path:
        return self.root / prefix if not prefix or prefix.endswith("/") else (self.root / prefix).parent

    def _put(self, name: str, data: bytes, how: int) -> None:
        path = self.root / name
        with _as_storage_error(path):
            self._make_folder(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | how, 0o600)
            try:
                give_to_owner(descriptor, self.root)
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)

    def _make_folder(self, path: Path) -> None:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700)
            give_to_owner(path.parent, self.root)
            self._fsync(path.parent.parent)

    def _fsync(self, path: Path) -> None:
        with _as_storage_error(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            except OSError as error:
                # CIFS, FUSE and 9p know no fsync of a folder, and say so
                if error.errno not in _NO_SYNC or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    raise
            finally:
                os.close(descriptor)


def give_to_owner(file: int | Path, folder: Path) -> None:
    """What root makes in another account's folder belongs to that account: it is to read it tomorrow."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            owner = folder.stat()
            os.chown(file, owner.st_uid, owner.st_gid)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # a name that no file can have
        raise StorageError(f"{str(path)!r}: {error}: give the folder another name") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}: free some space or mend its permissions") from error
