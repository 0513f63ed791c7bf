"""Flash as this package uses it: a few calls, each of which may be the last before the power goes.

Nothing is durable until it is synced: contents by `sync`, names (creations, renames, deletions) by
`sync_names`. Everything above relies on these calls alone, so `acclimate_device.testing` can cut the power at
each of them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from acclimate_device.errors import StorageError


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

    def lock(self) -> AbstractContextManager[None]:
        """Keep other threads and processes that use the same flash out of a read-change-write."""


def replace(flash: Flash, name: str, data: bytes) -> None:
    """Put `data` under `name` durably: after a power cut there is the old or the new, whole."""
    fresh = f"{name}.new"
    flash.write(fresh, data)
    flash.sync(fresh)
    flash.rename(fresh, name)
    flash.sync_names(name)


class FileFlash:
    """A folder of a POSIX file system.

    Args:
        root: the folder; it is created, readable by its owner only.

    Raises:
        StorageError: the folder cannot be created or written to (from every method).
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        with _as_storage_error(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self, name: str) -> bytes | None:
        with _as_storage_error(self.root / name):
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        try:
            return (self.root / name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> list[str]:
        folder = self._folder(prefix)
        found = (path.relative_to(self.root).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(name for name in found if name.startswith(prefix))

    def write(self, name: str, data: bytes) -> None:
        self._put(name, data, os.O_TRUNC)

    def append(self, name: str, data: bytes) -> None:
        self._put(name, data, os.O_APPEND)

    def sync(self, name: str) -> None:
        self._fsync(self.root / name)

    def rename(self, old: str, new: str) -> None:
        with _as_storage_error(self.root / new):
            os.replace(self.root / old, self.root / new)

    def delete(self, name: str) -> None:
        with _as_storage_error(self.root / name):
            (self.root / name).unlink(missing_ok=True)

    def sync_names(self, prefix: str) -> None:
        if self._folder(prefix).exists():
            self._fsync(self._folder(prefix))

    @contextmanager
    def lock(self) -> Iterator[None]:
        with _as_storage_error(self.root / ".lock"):
            descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # per open file: keeps threads apart as well
            yield
        finally:
            os.close(descriptor)

    def _folder(self, prefix: str) -> Path:
        return self.root / prefix if prefix.endswith("/") else (self.root / prefix).parent

    def _put(self, name: str, data: bytes, how: int) -> None:
        path = self.root / name
        with _as_storage_error(path):
            if not path.parent.exists():
                path.parent.mkdir(parents=True, mode=0o700)
                self._fsync(path.parent.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)

    def _fsync(self, path: Path) -> None:
        with _as_storage_error(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def _as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}: free some space or mend its permissions") from error
