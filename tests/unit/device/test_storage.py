"""The record store and its slots: what is never overwritten, never seen by others, never taken for ours."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate_device.errors import StorageError
from acclimate_device.protocol import Release
from acclimate_device.storage import Boot, FileFlash, Slots, Store
from acclimate_device.storage import flash as flash_module
from acclimate_device.storage.slots import Trial
from acclimate_device.testing import SimulatedFlash

RELEASE = Release("watch", 7, "ab" * 32)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_nobody_else_may_look_into_a_devices_folders(tmp_path: Path, open_umask: None) -> None:
    store = Store(FileFlash(tmp_path / "state"))
    with store.lock():
        store.write("outbox/one", b"x")
    store.flash.append("log/two", b"x")
    found = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert len(found) == 7  # the root, two folders, three files and the lock
    assert {oct(path.stat().st_mode & 0o077) for path in found} == {"0o0"}


def test_a_record_whose_copies_cannot_be_read_now_is_not_written_over() -> None:
    flash = SimulatedFlash()
    Store(flash).write("r", b"old")
    flash.unreadable = {"r.0", "r.1"}
    with pytest.raises(StorageError, match="Input/output error"):
        Store(flash).write("r", b"new")
    flash.unreadable = set()
    assert Store(flash).read("r") == b"old"
    flash.unreadable = {"r.0"}  # the other copy tells the number
    Store(flash).write("r", b"new")
    flash.unreadable = set()
    assert Store(flash).read("r") == b"new"


def test_the_newer_of_two_whole_copies_is_the_record_and_mends_the_other() -> None:
    for older, newer in ((".0", ".1"), (".1", ".0")):
        flash = SimulatedFlash()
        store = Store(flash)
        store.write("r", b"old")
        before = flash.read(f"r{older}")
        store.write("r", b"new")
        after = flash.read(f"r{newer}")
        flash.write(f"r{older}", before)
        assert store.read("r") == b"new"
        assert flash.read(f"r{older}") == after
        assert store.take_mishaps() == []  # one that is behind is no damage


def test_a_copy_under_another_name_or_without_a_number_is_none() -> None:
    flash = SimulatedFlash()
    store = Store(flash)
    store.write("r", b"secret")
    for ending in (".0", ".1"):
        flash.write(f"other{ending}", flash.read(f"r{ending}"))
    assert store.read("other") is None
    assert {one.kind for one in store.take_mishaps()} == {"set_aside"}
    head = struct.Struct(">4sQ")
    for ending in (".0", ".1"):
        magic, number = head.unpack_from(flash.read(f"r{ending}"))
        assert (magic, number) == (b"ACR2", 1)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 43, 44])
def test_a_file_too_short_to_be_a_copy_is_damage(length: int) -> None:
    flash = SimulatedFlash()
    store = Store(flash)
    store.write("r", b"")
    assert store.read("r") == b""
    flash.write("r.0", flash.read("r.0")[:length])
    assert store.read("r") == b""
    assert [one.kind for one in store.take_mishaps()] == (["set_aside", "repaired"] if length < 44 else [])


def test_what_is_found_damaged_is_told_once_and_the_latest_sixty_four_at_the_most() -> None:
    store = Store(SimulatedFlash())
    for number in range(70):
        store.flash.write(f"outbox/foreign {number}", b"x")
        store.names("outbox/")
    told = store.take_mishaps()
    assert [one.name for one in told] == [f"outbox/foreign {number}" for number in range(6, 70)]
    assert store.take_mishaps() == []


def test_sizes_and_names_are_of_the_records_below_a_prefix() -> None:
    store = Store(SimulatedFlash())
    store.write("outbox/b", b"x" * 10)
    store.write("outbox/a", b"x" * 5)
    store.write("boot", b"x" * 100)
    assert store.names("outbox/") == ["outbox/a", "outbox/b"]
    assert store.size("outbox/") == 2 * (5 + 10 + 2 * 44)
    store.delete("outbox/a")
    assert store.names("outbox/") == ["outbox/b"]
    assert store.read("outbox/a") is None


def test_who_has_the_flash_locked_for_long_is_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_module, "_PATIENCE_S", 0.05)
    one, other = FileFlash(tmp_path), FileFlash(tmp_path)  # as two processes have it
    refused = pytest.raises(StorageError, match=r"locked for 0.05 s: does it hang")
    with one.lock(), one.lock(), refused, other.lock():  # who holds it may take it again
        pass
    with other.lock():
        pass


def test_what_is_set_aside_keeps_the_end_of_its_name_and_large_files_are_not_kept() -> None:
    store = Store(SimulatedFlash())
    store.flash.write("a/" + "long" * 20 + "-end", b"x" * 65_536)
    store.flash.write("a/large", b"x" * 65_537)
    for file in store.flash.names("a/"):
        store.set_aside(file, "found")
    assert store.flash.names("") == ["aside/000001-" + "long" * 9 + "-end"]


def test_a_record_of_another_version_of_this_package_counts_as_none() -> None:
    store = Store(SimulatedFlash())
    slots = Slots(store)
    assert (slots.boot(), slots.assignment()) == (Boot(), None)
    for name in ("boot", "assignment"):
        store.write(name, b'{"of": "tomorrow"}')
    assert (slots.boot(), slots.assignment()) == (Boot(), None)
    long = Release("w" * 128, 2**31 - 1, "ab" * 32)
    trial = Trial("b", long, 3)
    kept = Boot("a", long, trial, counter=5, lineage=2, failed=("c" * 64,) * 8, damaged=long, factory=long)
    slots.save_boot(kept)
    assert Slots(store).boot() == slots.boot() == kept


def test_a_slot_in_use_is_never_the_free_one() -> None:
    slots = Slots(Store(SimulatedFlash()))
    assert slots.free() == "a"
    slots.save_boot(Boot("a", RELEASE))
    assert slots.free() == "b"
    slots.save_boot(Boot("a", RELEASE, Trial("b", RELEASE, 3)))
    assert slots.free() is None
    slots.save_boot(Boot("factory", None, Trial("a", RELEASE, 1)))
    assert slots.free() == "b"


def test_a_slot_is_emptied_before_it_is_filled_and_counts_as_empty_until_its_manifest_lies_there() -> None:
    flash = SimulatedFlash()
    slots = Slots(Store(flash))
    slots.stage("a", {"manifest.json": b"{}", "one": b"1", "two": b"2"})
    slots.stage("a", {"manifest.json": b"[]", "one": b"3"})
    assert (slots.read("a", "one"), slots.read("a", "two")) == (b"3", None)
    assert slots.read("a", "manifest.json") == b"[]"
    assert not slots.holds("a", RELEASE)  # no bundle
    slots.clear("a")
    assert flash.names("a/") == []
    assert slots.read("a", "manifest.json") is None
