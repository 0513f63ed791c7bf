"""The file of an SQLite database before the service opens it: made, or looked at without a change to it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from acclimate.errors import RolloutError
from acclimate.files import making

OURS = frozenset({"fleets", "devices", "reports", "leases"})
"""Tables that the service's databases have had from the first."""
_LOOKS, _LOOK_S = 40, 0.05  # at a file that has neither tables nor a log
_LOG_HEADER, _FRAME_HEADER = 32, 24


def prepare_file(path: Path) -> None:
    """A new file is its owner's alone. One that is there stays as it is, or is refused.

    Raises:
        RolloutError: it is no file or no database, something else keeps its tables there, its file system has
            no locks, or its data are missing: left behind by a copy, or in a log that does not belong to it.
    """
    with making(f"the database {path}", RolloutError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if not path.is_file():
        raise RolloutError(f"{path} is no file: name another for the database")
    _need_locks(path)
    log = path.with_name(path.name + "-wal")
    for _ in range(_LOOKS):
        # Before it is opened: who closes it last removes what a first start that was killed left in its log.
        begun = log.exists()
        kept = begun and _committed(log)
        empty = not path.stat().st_size
        tables = [] if empty else _tables(path, readonly=kept)
        if tables or begun or empty:
            break
        time.sleep(_LOOK_S)  # another replica may be about to make its log
    if tables:
        check_ours(tables, str(path))
    elif kept:
        raise RolloutError(
            f"{path} has no table, and {log.name} beside it holds transactions that are damaged or another "
            "database's. Restore a backup with `acclimate restore`, or move both away to begin anew"
        )
    elif not begun and not empty:
        raise RolloutError(
            f"{path} has {path.stat().st_size} bytes and no table: a copy that left the data behind in "
            f"{log.name}. Restore a backup with `acclimate restore`, or remove the file to begin anew"
        )


def check_ours(tables: Collection[str], where: str) -> None:
    """Refuse a database in which something else keeps its tables.

    Raises:
        RolloutError: there are tables, and ours are not among them.
    """
    if tables and not OURS.issubset(tables):
        some = ", ".join(sorted(tables)[:3])
        raise RolloutError(
            f"{where} has tables of something else ({some}): give the service a database of its own"
        )


def _need_locks(path: Path) -> None:
    """Without them SQLite says for half a minute that the database is locked. A file beside it is tried: who
    closes the database's own gives up all locks that this process has on it."""
    with suppress(OSError), tempfile.TemporaryFile(dir=path.parent) as beside:
        try:
            fcntl.lockf(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RolloutError(
                f"{path}: its file system has no locks ({error.strerror}): put the database on a local disk, "
                "or use PostgreSQL"
            ) from error


def _committed(log: Path) -> bool:
    """Whether a log holds a whole transaction: its last frame gives the size. A migration that was killed
    left none (https://sqlite.org/fileformat2.html#the_write_ahead_log)."""
    with suppress(OSError), log.open("rb") as file:
        page = int.from_bytes(file.read(_LOG_HEADER)[8:12], "big")
        while len(head := file.read(_FRAME_HEADER)) == _FRAME_HEADER:
            if any(head[4:8]):
                return True
            file.seek(page, os.SEEK_CUR)
    return False


def _tables(path: Path, readonly: bool) -> list[str]:
    """Who may not write leaves the log where it is."""
    mode = "ro" if readonly else "rw"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return [name for (name,) in found if not name.startswith("sqlite_")]
    except sqlite3.Error as error:
        raise RolloutError(
            f"{path} is no SQLite database ({error}): name another, or restore a backup"
        ) from error
