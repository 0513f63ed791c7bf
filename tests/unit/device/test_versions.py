"""Which version runs, by the boot record and the agent's assignment alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import BundleError
from acclimate_device.online.versions import Change, Versions
from acclimate_device.protocol import MANIFEST, DesiredState, Release, dumps
from acclimate_device.storage import Assignment, Boot, Slots, Store, Trial
from acclimate_device.testing import SimulatedFlash, tiny_bundle

SHIPPED = tiny_bundle()
FACTORY = parse_manifest(SHIPPED[MANIFEST]).release
NEW, OTHER = Release("gestures", 2, FACTORY.content_hash), Release("gestures", 3, "f" * 64)


def of(release: Release) -> dict[str, bytes]:
    return {**SHIPPED, MANIFEST: dumps(replace(parse_manifest(SHIPPED[MANIFEST]), release=release))}


@pytest.fixture
def slots() -> Slots:
    made = Slots(Store(SimulatedFlash()))
    made.stage("a", of(NEW))
    return made


def versions(slots: Slots) -> Versions:
    return Versions(slots, SHIPPED.get, trial_starts=3)


def assign(slots: Slots, release: Release | None, counter: int, slot: str | None = "a", **more) -> None:
    action = more.pop("action", "run")
    slots.save_assignment(Assignment(DesiredState("d", "home", counter, action, release), slot, **more))


def test_a_new_version_is_on_trial_until_it_proves_itself(slots: Slots) -> None:
    under_test = versions(slots)
    factory = under_test.start()
    assert (factory.slot, factory.release) == ("factory", FACTORY)
    assign(slots, NEW, 5)
    change = under_test.assigned(factory)
    assert change.running is not None
    assert (change.running.release, change.fresh) == (NEW, True)
    assert slots.boot() == under_test.boot
    assert under_test.boot.trial == Trial("a", NEW, 2)  # this one is the first of three
    assert (under_test.boot.counter, under_test.boot.lineage, under_test.boot.good) == (5, 1, "factory")
    assert under_test.assigned(change.running) == Change(None, False)  # obeyed once
    assert under_test.on_trial is True
    under_test.confirm()
    assert under_test.on_trial is False
    assert slots.boot() == under_test.boot
    assert under_test.boot == Boot("a", NEW, None, counter=5, lineage=1, factory=FACTORY)
    assert versions(slots).start().release == NEW
    assert [kind for kind, _, _ in under_test.take_notes()] == ["installed", "confirmed"]
    assert under_test.take_notes() == []


def test_a_trial_has_so_many_starts_and_then_the_last_good_version_runs(slots: Slots) -> None:
    slots.save_boot(Boot(release=FACTORY, factory=FACTORY, trial=Trial("a", NEW, 2), counter=5, lineage=1))
    assert [versions(slots).start().release for _ in range(4)] == [NEW, NEW, FACTORY, FACTORY]
    assert (slots.boot().trial, slots.boot().failed, slots.boot().lineage) == (None, (NEW.content_hash,), 2)


def test_the_same_version_is_begun_afresh_only_where_that_is_asked_for(slots: Slots) -> None:
    under_test = versions(slots)
    running, resets = under_test.start(), []
    for counter, action, fresh in (
        (1, "run", False),
        (2, "reset", True),
        (2, "reset", False),
        (3, "hold", False),
    ):
        assign(slots, None if action == "hold" else FACTORY, counter, None, action=action)
        assert under_test.assigned(running, lambda: resets.append(1)) == Change(None, fresh)
        assert under_test.boot.counter == counter
    assert (len(resets), under_test.boot.lineage) == (1, 1)


def test_a_version_that_no_slot_holds_is_refused_and_not_tried_again(slots: Slots) -> None:
    under_test = versions(slots)
    running = under_test.start()
    for counter, slot in ((1, None), (2, "a"), (3, "b")):
        assign(slots, OTHER, counter, slot)
        assert under_test.assigned(running) == Change(None, False)
        assert (under_test.boot.counter, under_test.boot.failed) == (counter, (OTHER.content_hash,))
    told = under_test.take_notes()
    assert [(kind, source) for kind, source, _ in told] == [("refused", "gestures/3")] * 3
    assert [
        words in detail
        for words, (_, _, detail) in zip(("no slot", "holds gestures/2", "b"), told, strict=True)
    ]


def test_a_good_version_whose_files_were_damaged_comes_back_once_they_are_fetched_again(slots: Slots) -> None:
    slots.save_boot(Boot("a", NEW, counter=5, lineage=1, factory=FACTORY))
    slots.clear("a")
    under_test = versions(slots)
    running = under_test.start()
    assert (running.slot, under_test.boot.damaged, under_test.boot.good) == ("factory", NEW, "factory")
    assign(slots, NEW, 5)
    assert under_test.assigned(running) == Change(None, False)  # not fetched yet
    assign(slots, NEW, 5, mended=1)
    assert under_test.assigned(running) == Change(None, False)  # and damaged again
    slots.stage("a", of(NEW))
    assert under_test.assigned(running) == Change(None, False)  # which the agent has to say
    assign(slots, OTHER, 5, mended=2)
    assert under_test.assigned(running) == Change(None, False)  # that was not what was damaged
    assign(slots, NEW, 5, None, mended=3)
    assert under_test.assigned(running) == Change(None, False)
    assign(slots, NEW, 5, mended=4)
    change = under_test.assigned(running)
    assert change.running is not None
    assert (change.running.slot, change.running.release, change.fresh) == ("a", NEW, True)
    assert under_test.boot == slots.boot()
    assert (under_test.boot.good, under_test.boot.release, under_test.boot.damaged) == ("a", NEW, None)
    assert under_test.boot.lineage == 3
    assign(slots, NEW, 5, mended=5)
    assert under_test.assigned(change.running) == Change(None, False)  # nothing was damaged any more


def test_a_record_that_the_flash_refuses_is_kept_in_memory_and_no_trial_begins(slots: Slots) -> None:
    slots.save_boot(Boot(release=FACTORY, factory=FACTORY, trial=Trial("a", NEW, 2), counter=5))
    flash = slots._flash
    assert isinstance(flash, SimulatedFlash)
    flash.refuses = "Read-only file system"
    under_test = versions(slots)
    assert under_test.start().release == FACTORY
    assert "Read-only" in under_test.trouble
    under_test.reset()
    flash.refuses = ""
    assert slots.boot().lineage == 0
    under_test.retry()
    assert (slots.boot(), under_test.trouble) == (under_test.boot, "")
    assert slots.boot().lineage == 1


def test_without_a_whole_bundle_nothing_runs(slots: Slots) -> None:
    with pytest.raises(BundleError):
        Versions(slots, lambda file: None, trial_starts=3).start()
