"""Files are whole or not there, whatever step the writer was killed at."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acclimate.bundle.repository import begin, load_keys, status
from acclimate.errors import BundleError
from acclimate.files import create_whole, scratch_file, scratch_folder, write_whole
from acclimate.mishaps import as_user_error
from tests.support.kills import killed_everywhere

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "credentials.json"
    write_whole(path, "old", mode=0o600)

    def check(step: int) -> None:
        assert path.read_text() in ("old", "new")

    assert killed_everywhere(lambda: write_whole(path, "new", mode=0o600), check) >= 3
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_never_created_anew(tmp_path):
    create_whole(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        create_whole(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_link_stays_a_link_and_what_is_no_file_is_written_not_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "real"]


def fill(folder: Path, content: str) -> None:
    with scratch_folder(folder) as scratch:
        (scratch / "one").write_text(content)
        (scratch / "two").write_text(content)


@pytest.mark.parametrize("before", [None, "old"])
def test_a_folder_is_the_old_one_or_the_new_one_and_scratches_are_cleared(tmp_path, before):
    folder = tmp_path / "bundle"
    if before:
        fill(folder, before)

    def check(step: int) -> None:
        found = {(folder / name).read_text() for name in ("one", "two")} if folder.exists() else {None}
        assert len(found) == 1
        assert found <= {before, "new"}

    assert killed_everywhere(lambda: fill(folder, "new"), check) >= 4
    assert (folder / "one").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_writer_at_work_keeps_its_scratch_and_a_failing_one_leaves_nothing(tmp_path):
    folder = tmp_path / "pool"
    with scratch_folder(folder) as first:
        fill(folder, "second")
        (first / "one").write_text("first")
    assert [path.name for path in folder.iterdir()] == ["one"]
    with pytest.raises(ZeroDivisionError), scratch_folder(folder):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_a_repository_is_begun_again_by_the_same_command_after_any_kill(tmp_path):
    repository, keys = tmp_path / "repository", tmp_path / "keys"
    keys.mkdir()
    (keys / "mine.txt").write_text("stays")
    whole = []

    def act() -> None:
        if not whole:
            begin(repository, keys, None, NOW)

    def check(step: int) -> None:
        if (repository / "metadata" / "timestamp.json").exists():
            whole.append(step)  # what came after is of no consequence

    assert killed_everywhere(act, check) > 20
    assert status(repository, NOW).worst == "valid"
    assert len(load_keys([keys], None)) == 3
    assert (keys / "mine.txt").read_text() == "stays"
    with pytest.raises(BundleError, match="repository already"):
        begin(repository, tmp_path / "others", None, NOW)


def test_keys_of_somebody_else_are_never_taken_back(tmp_path):
    begin(tmp_path / "one", tmp_path / "keys", None, NOW)
    with pytest.raises(BundleError, match="not overwritten"):
        begin(tmp_path / "two", tmp_path / "keys", None, NOW)
    assert len(load_keys([tmp_path / "keys"], None)) == 3
    begin(tmp_path / "two", tmp_path / "other", None, NOW)


def test_space_is_taken_before_it_is_mapped(tmp_path):
    """On a disk of one megabyte: writing to a sparse map of two would end the process with SIGBUS."""
    code = (
        "import pathlib, sys; from acclimate.files import reserve\n"
        "path = pathlib.Path(sys.argv[1]) / 'values'\n"
        "path.touch(); file = path.open('r+b'); file.truncate(500_000); reserve(path)\n"
        "assert path.stat().st_blocks * 512 >= 500_000; file.truncate(2_000_000); reserve(path)"
    )
    mounted = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert f"No space left on device: '{tmp_path}/values'" in done.stderr


def test_the_next_writer_of_a_file_clears_away_what_a_killed_one_left(tmp_path: Path):
    place = tmp_path / "checkpoint.pt"
    (tmp_path / ".checkpoint.pt.new-left").write_text("half")
    (tmp_path / ".other.pt.new-left").write_text("half")
    with scratch_file(place) as first:
        write_whole(place, "second")  # while the first is at work
        assert first.exists()
        first.write_text("first")
    assert place.read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.pt.new-left", "checkpoint.pt"]


def _folder(path: Path) -> None:
    with scratch_folder(path):
        pass


@pytest.mark.parametrize("path", [Path("/proc/recipe.yaml"), Path("/proc/deep/recipe.yaml")])
@pytest.mark.parametrize(
    "make",
    [lambda path: write_whole(path, "x"), lambda path: create_whole(path, b"x"), _folder],
    ids=["write", "create", "folder"],
)
def test_where_nothing_can_be_made_a_person_is_told_so(make: Callable[[Path], None], path: Path) -> None:
    with pytest.raises(OSError, match="nothing can be made there") as raised:
        make(path)
    told = as_user_error(raised.value)
    assert str(path) in str(told)
    assert "to a folder of yours" in str(told)
