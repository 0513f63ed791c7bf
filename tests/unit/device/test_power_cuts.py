"""The power goes at every storage call of a device's life: there is always a version to run."""

from itertools import count, takewhile
from pathlib import Path

import pytest

from acclimate_device import Device
from acclimate_device.protocol import DesiredState
from acclimate_device.storage import Assignment, FileFlash, Slots, Store
from acclimate_device.testing import TORN, GestureDevice, PowerCutError, SimulatedFlash, tiny_bundle
from tests.support.gateway import release_of, version

EXAMPLES = list(GestureDevice(1).examples(12))


class Life:
    """An agent and an application that share flash: adapt, update, confirm, reset, update, restart."""

    def __init__(self, flash: SimulatedFlash, kind: str = "gradient") -> None:
        self.kind = kind
        self.flash, self.slots = flash, Slots(Store(flash))
        self.now = 0.0

    def application(self) -> Device:
        return Device(
            tiny_bundle(self.kind).get, self.flash, clock=lambda: self.now, new_id=lambda: f"{id(self):032x}"
        )

    def live(self) -> None:
        device = self.application()
        for x, y in EXAMPLES:
            device.learn_one(x, y)
        for number in (2, 3):
            self.now += 61.0
            slot = self.slots.free()
            self.slots.stage(slot, version(number, self.kind))
            state = DesiredState("d", "f", number, "run", release_of(number))
            self.slots.save_assignment(Assignment(state, slot))
            device.tick()
            for x, _ in EXAMPLES * 2:
                device.predict_one(x)
            self.now += 61.0
            device.tick()
        device.reset()
        device.close()


def survives(cut_at: int, torn: str, kind: str) -> tuple[bool, int]:
    """Whether the power was cut at all, and the version that runs afterwards."""
    flash = SimulatedFlash(cut_at, torn)
    completed = False
    try:
        Life(flash, kind).live()
        completed = True
    except PowerCutError:
        pass
    after = Life(flash.after_power_cut(), kind)
    device = after.application()
    before = device.release.version
    assert device.predict_one(EXAMPLES[0][0]) in ("circle", "shake", "tap")
    device.tick()
    assert device.release.version >= before, "what was assigned is still obeyed"
    again = Life(after.flash.after_power_cut(), kind).application()
    assert again.release.version >= before
    return not completed, device.release.version


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("gradient", 2),
        *(pytest.param(kind, 1, marks=pytest.mark.nightly) for kind in ("gradient", "closed-form")),
    ],
)
def test_there_is_always_a_version_to_run(kind: str, step: int) -> None:
    """At each call, by two of the four kinds of damage in turns, or by night by all of them."""
    cuts, versions = 0, set()
    for first, torn in enumerate(TORN):
        cut_at = first % step
        while True:
            cut, ran = survives(cut_at, torn, kind)
            if not cut:
                break
            versions.add(ran)
            cuts, cut_at = cuts + 1, cut_at + step
    print(f"device: {cuts} power cuts survived")
    assert cuts > 400 / step
    assert versions == {1, 2, 3}


def test_heads_in_closed_form_survive_a_cut_at_every_24th_call_of_a_life() -> None:
    cuts = list(takewhile(lambda cut_at: survives(cut_at, TORN[0], "closed-form")[0], count(3, 24)))
    assert len(cuts) >= 3, "a life makes more calls than that: the power was hardly cut"


def test_a_record_is_the_old_or_the_new_one_at_every_cut() -> None:
    for torn in TORN:
        for cut_at in range(40):
            flash = SimulatedFlash(cut_at, torn)
            store, written = Store(flash), 0
            try:
                for number in range(1, 9):
                    store.write("r", b"%d" % number * 50)
                    written = number
            except PowerCutError:
                pass
            found = Store(flash.after_power_cut()).read("r")
            assert found in {b"%d" % number * 50 for number in (written, written + 1) if number} | (
                {None} if not written else set()
            )


def test_a_record_survives_any_flipped_bit_and_is_mended() -> None:
    for bit in range(0, 376, 3):
        for ending in (".0", ".1"):
            flash = SimulatedFlash()
            Store(flash).write("r", b"old")
            Store(flash).write("r", b"new")
            whole = flash.read(f"r{ending}")
            flash.flip(f"r{ending}", bit)
            store = Store(flash)
            assert store.read("r") == b"new"
            assert [(one.kind, one.name) for one in store.take_mishaps()][-1] == ("repaired", "r")
            assert flash.read(f"r{ending}") == whole


def test_files_on_a_real_disk_do_the_same(tmp_path: Path) -> None:
    life = Life(FileFlash(tmp_path))
    life.live()
    assert life.application().release.version == 3
    assert oct((tmp_path / "boot.0").stat().st_mode & 0o777) == "0o600"


def test_what_was_renamed_is_synced_in_its_own_folder(tmp_path: Path) -> None:
    flash, synced = FileFlash(tmp_path), []
    fsync = flash._fsync

    def watched(path: Path) -> None:
        synced.append(path)
        fsync(path)

    flash._fsync = watched
    Store(flash).write("outbox/one", b"data")
    assert synced[-3:] == [tmp_path / "outbox/one.0.new", tmp_path / "outbox/one.1.new", tmp_path / "outbox"]
    flash.sync_names("outbox/")
    assert synced[-1] == tmp_path / "outbox"
    flash.sync_names("nowhere/")
