"""Garbage of a simulation is collected by its steps."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from acclimate.simulation.garbage import Garbage


class Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    assert gc.isenabled()
    found = Garbage()
    yield found
    found.leave()
    assert gc.isenabled()


def test_a_step_collects_what_it_left_behind_and_afterwards_all_is_as_before(garbage: Garbage):
    assert not gc.isenabled()
    left = weakref.ref(Ring())
    assert left() is not None
    garbage.step()
    assert left() is None
    garbage.leave()
    assert gc.isenabled()


def test_what_is_old_is_collected_once_memory_has_doubled(garbage: Garbage):
    ring = Ring()
    left = weakref.ref(ring)
    gc.collect()  # it survives, and is old
    del ring
    garbage.step()
    assert left() is not None
    held = bytearray(2 * garbage.resident_bytes)
    held[:: 1 << 12] = b"\1" * len(held[:: 1 << 12])  # touched, so that it is there
    garbage.step()
    assert left() is None
