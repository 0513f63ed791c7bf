"""Files that are whole or not there: written beside their place, synced, then moved into it in one step.

A process may be killed at any moment. What it leaves then is a scratch whose name begins with a dot, and the
next writer of the same place clears that away.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import mmap
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from acclimate.errors import AcclimateError

_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of renameat2(2)


def write_whole(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a file in one step; one that is there is replaced.

    Args:
        mode: of the file, whatever the process's umask.
    """
    with scratch_file(path, mode) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)


def create_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Likewise, only where no such file is.

    Raises:
        FileExistsError: it is there; it stays as it is.
    """
    with _scratch_file(path, mode) as scratch:
        scratch.write_bytes(content)
        _sync(scratch)
        os.link(scratch, path)  # fails if the file exists, where a rename would overwrite it
        _sync(path.parent)


@contextlib.contextmanager
def scratch_file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A file to write, which takes the place of `path` on success and vanishes on failure.

    A link stays a link: what it names is written. What is no regular file, `/dev/null` or a pipe, is never
    replaced: it gets the content at the end.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file() and not path.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder) / "scratch"
            yield scratch
            path.write_bytes(scratch.read_bytes())
        return
    with _scratch_file(path, mode) as scratch:
        yield scratch
        _sync(scratch)
        scratch.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def scratch_folder(path: Path, mode: int = 0o755) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` on success and vanishes on failure.

    Files are synced before; a folder that is there is exchanged in one step where the system can.
    """
    with _beside(path):
        scratch, held = _held_folder(path)
    try:
        yield scratch
        for each in scratch.rglob("*"):
            _sync(each)
        scratch.chmod(mode)
        _exchange(scratch, path)
        _sync(path.parent)
    except OSError as error:
        raise _named(error, path) from None
    finally:
        os.close(held)
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def making(what: str, error: type[AcclimateError]) -> Iterator[None]:
    """Around what makes a file or a folder at a place that a person named.

    Raises:
        AcclimateError: of the kind given; the system does not let us make it there.
    """
    try:
        yield
    except OSError as problem:
        raise error(
            f"{what} cannot be made ({problem.strerror or problem}): name another place, or let this account "
            "write there"
        ) from problem


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; a path may hold what in a URL ends or escapes one."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_file(url: str) -> Path | None:
    """The file that a URL names, or None if it is no SQLite's."""
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]*)", url.strip())
    return Path(unquote(found[1])) if found else None


def others_may(path: Path) -> str:
    """What accounts that are neither the owner nor of the group may do: `write`, `read`, or nothing."""
    mode = path.stat().st_mode
    return "write" if mode & stat.S_IWOTH else "read" if mode & stat.S_IROTH else ""


def reserve(path: Path) -> None:
    """Take the space of a sparse file now: a full disk is an error here, and a SIGBUS at a memory map later.

    Raises:
        OSError: there is not enough space; the error names the file.
    """
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise _named(error, path) from None


def release(mapped: Any) -> None:
    """Take the pages of a memory-mapped array out of this process's memory; what was written stays."""
    mapped.base.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def _scratch_file(path: Path, mode: int) -> Iterator[Path]:
    with _beside(path):
        scratch, held = _held_file(path)
    try:
        os.fchmod(held, mode)
        yield scratch
    except OSError as error:
        raise _named(error, path) from None
    finally:
        os.close(held)
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Around what is made in the folder of `path`, which is made too and cleared of what was left there.

    Raises:
        PermissionError: the file system takes no files, such as /proc, which says that there is no such file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_away(path)
        yield
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, "nothing can be made there", str(path)) from error


def _named(error: OSError, path: Path) -> OSError:
    """A full disk says nothing of the file that was written: it is the one that is being made."""
    if error.errno in _OF_DISKS and error.filename is None:
        error.filename = str(path)
    return error


def _held_file(path: Path) -> tuple[Path, int]:
    """A new scratch file, and the lock on it that says somebody writes there."""
    while True:
        held, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        with contextlib.suppress(OSError):  # a file system without locks: what is left there stays
            fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.exists(name):
            return Path(name), held
        os.close(held)


def _held_folder(path: Path) -> tuple[Path, int]:
    """A new scratch folder, and the lock on it that says somebody works there."""
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        with contextlib.suppress(FileNotFoundError):  # cleared away before it was locked: once more
            held = os.open(scratch, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if scratch.exists():
                return scratch, held
            os.close(held)


def _clear_away(path: Path) -> None:
    """Remove what writers that were killed left of this place."""
    for left in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        with contextlib.suppress(OSError):
            held = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()
            finally:
                os.close(held)


def _exchange(scratch: Path, path: Path) -> None:
    """Put `scratch` at `path`, and what was there into its place."""
    with contextlib.suppress(OSError):  # there is a folder with something in it
        os.replace(scratch, path)
        return
    if not _swap(scratch, path):  # an old kernel or a network's file system: two steps
        retired = scratch.with_name(f"{scratch.name}.old")
        os.replace(path, retired)
        os.replace(scratch, path)
        os.replace(retired, scratch)


def _swap(one: Path, other: Path) -> bool:
    with contextlib.suppress(AttributeError):  # a C library without it
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(renameat2(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE) == 0)
    return False


def _prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
