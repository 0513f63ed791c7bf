"""Power cuts where what was not synced reaches the flash in any order, or not at all."""

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from types import SimpleNamespace

import pytest

from acclimate_device.errors import StorageError
from acclimate_device.online.versions import Versions
from acclimate_device.protocol import MANIFEST, DesiredState
from acclimate_device.storage import Assignment, Slots, Store
from acclimate_device.testing import PowerCutError, SimulatedFlash, tiny_bundle
from tests.support.gateway import release_of, version

bundle_of = functools.cache(version)


def load(bundle, like):
    """In place of an engine: what is tested is which version runs, not how."""
    return SimpleNamespace(manifest=bundle.manifest)


def swap(flash: SimulatedFlash) -> int:
    """Stage what is assigned, obey it, let it pass its trial, and the next one; the version that runs.

    Whatever was done before a power cut is not done again: this is how a device goes on after one, too.
    """
    slots = Slots(Store(flash))
    versions = Versions(slots, tiny_bundle().get, 3, load)
    running = versions.start()
    for number in (2, 3):
        before = slots.assignment()
        if before is None or before.state.counter < number:
            slot = slots.free()
            if slot is None:  # a trial uses both: it ends first
                versions.confirm()
                slot = slots.free()
            slots.stage(slot, bundle_of(number))
            slots.save_assignment(Assignment(DesiredState("d", "f", number, "run", release_of(number)), slot))
        change = versions.assigned(running)
        running = change.running or running
        versions.confirm()
    assert not versions.trouble
    return running.release.version


def cuts(flash: SimulatedFlash, live: Callable[[SimulatedFlash], object]) -> Iterator[SimulatedFlash]:
    """Every different state that the flash may be in after a power cut at any call of `live`."""
    seen = set()
    for cut_at in range(10_000):
        cut = flash.after_power_cut()
        cut.cut_at = cut_at
        try:
            live(cut)
        except PowerCutError:
            for left in cut.outcomes():
                content = tuple((name, left.read(name)) for name in left.names(""))
                if hash(content) not in seen:
                    seen.add(hash(content))
                    yield left
        else:
            return


def test_a_manifest_is_in_a_slot_only_beside_all_its_files() -> None:
    """Also when its name reaches the flash before theirs."""
    found = set()
    start = SimulatedFlash()
    Slots(Store(start)).stage("a", bundle_of(2))
    for flash in cuts(start, lambda flash: Slots(Store(flash)).stage("a", bundle_of(3))):
        slots = Slots(Store(flash))
        whole = {number for number in (2, 3) if slots.holds("a", release_of(number))}
        found |= whole
        assert whole or slots.read("a", MANIFEST) is None
    assert found == {2, 3}


def test_at_every_cut_of_a_swap_a_version_runs_and_the_swap_ends() -> None:
    states = 0
    for flash in cuts(SimulatedFlash(), swap):
        assert swap(flash) == 3
        states += 1
    print(f"device: {states} states after one reordered power cut survived")
    assert states > 150


def test_at_every_failing_call_of_a_swap_a_version_runs_and_the_swap_ends() -> None:
    whole = SimulatedFlash()
    swap(whole)
    for at in range(whole.calls):
        for lasting in (1, 4, 1000):
            flash = SimulatedFlash()
            flash.refused = range(at, at + lasting)
            with suppress(StorageError, AssertionError):
                swap(flash)
            flash.refused = ()
            assert swap(flash) == 3


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(8))
def test_at_every_second_cut_too(part: int) -> None:
    """In parts, of which each begins with an eighth of the first cuts: all of them are exhaustive."""
    states = 0
    for once in islice(cuts(SimulatedFlash(), swap), part, None, 8):
        for twice in cuts(once, swap):
            assert swap(twice) == 3
            states += 1
    print(f"device: {states} states after two reordered power cuts survived")
    assert states > 1_000
