"""A database's file and the log beside it, as copies, crashes and bad disks leave them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.store import open_store


@pytest.fixture
def copied(tmp_path) -> Path:
    """A copy of a database that is in use: all its data are in the log."""
    store = open_store(f"sqlite:///{tmp_path / 'used.db'}")
    path = tmp_path / "copy.db"
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"used.db{end}", f"{path}{end}")
    store.close()
    assert path.stat().st_size == 4096
    return path


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def test_a_copy_with_its_log_is_whole(copied) -> None:
    open_store(f"sqlite:///{copied}").close()


def flipped(path: Path) -> None:
    log = bytearray(log_of(path).read_bytes())
    log[32 + 24 + 100] ^= 1
    log_of(path).write_bytes(log)


def another(path: Path) -> None:
    """Frames of an earlier log: their salts are not those of its head."""
    log = bytearray(log_of(path).read_bytes())
    log[16:24] = bytes(8)
    log_of(path).write_bytes(log)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [flipped, another, emptied])
def test_a_log_that_cannot_be_read_is_no_first_start(copied: Path, harm: Callable[[Path], None]) -> None:
    harm(copied)
    before = [path.read_bytes() for path in (copied, log_of(copied))]
    with pytest.raises(RolloutError, match=r"copy\.db-wal beside it holds transactions.*acclimate restore"):
        open_store(f"sqlite:///{copied}")
    assert [path.read_bytes() for path in (copied, log_of(copied))] == before


def test_a_first_start_that_was_cut_off_is_begun_anew(copied) -> None:
    """Its log ends amid a transaction."""
    log = log_of(copied).read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page)
    first = next(at for at in frames if any(log[at + 4 : at + 8]))
    log_of(copied).write_bytes(log[:first])
    open_store(f"sqlite:///{copied}").close()
