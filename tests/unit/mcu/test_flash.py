"""Flash of a microcontroller: power cuts at every byte, and weights that must not be taken."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from acclimate.bundle.mcu.firmware import bundle_in
from acclimate_device.bundle import read_bundle
from acclimate_device.mcu import weights
from acclimate_device.mcu.weights import blob
from tests.support.bundle_samples import export, start
from tests.support.mcu_host import GESTURES, HostDevice
from tests.unit.mcu.conftest import KEY, verify
from tests.unit.mcu.test_decisions import stream

BUNDLE = bundle_in(GESTURES)
PUBLIC = KEY.public_key().public_bytes_raw()
OK, TRUNCATED, TOPOLOGY, OLD, SIGNATURE = 0, -7, -8, -9, -10


@pytest.fixture
def device(gestures) -> HostDevice:
    made, library = gestures
    return HostDevice(library, made.files["weights.blob"], verify=verify, key=PUBLIC)


def signed(counter: int) -> bytes:
    return blob(BUNDLE, counter, KEY.sign)


def taught(device: HostDevice, labels: int, seed: int = 0) -> np.ndarray:
    device.stream(*stream(seed, labels))
    return device.state


def test_what_was_learnt_survives_a_restart(device) -> None:
    learnt = taught(device, 40)
    assert device.lib.acc_save(device.device) == OK
    taught(device, 8, seed=1)
    assert device.restart() == OK
    assert (device.state == learnt).all()


@pytest.mark.parametrize("shuffle", [0, 7])
def test_power_may_fail_at_every_byte_of_a_save(device, shuffle: int) -> None:
    """What loads is what was saved before, or the new one whole; bytes of one write land in any order."""
    first = taught(device, 40)
    assert device.lib.acc_save(device.device) == OK
    second = taught(device, 8, seed=1)
    pointer = ctypes.c_void_p(device.lib.host_flash(device.host))
    image = ctypes.string_at(pointer, device.lib.host_flash_bytes(device.host))
    cuts, cut = 0, 0
    while True:
        ctypes.memmove(pointer, image, len(image))
        device.restart()
        device.stream(*stream(1, 8))
        device.lib.host_power(device.host, ctypes.c_int64(cut), shuffle)
        told = device.lib.acc_save(device.device)
        device.lib.host_power(device.host, ctypes.c_int64(-1), 0)
        assert device.restart() == OK
        found = device.state
        assert (found == first).all() or (found == second).all()
        assert (found == second).all() or told != OK
        if told == OK:
            break
        cuts, cut = cuts + 1, cut + (1 if cut < 64 or cut > 2000 else 37)
    assert cuts > 200


def test_newer_weights_are_taken_and_kept(device) -> None:
    taught(device, 40)
    assert device.update(signed(5)) == OK
    assert device.lib.acc_counter(device.device) == 5
    assert device.restart() == OK
    assert device.lib.acc_counter(device.device) == 5
    assert device.update(signed(6), piece=7) == OK
    assert device.update(signed(7), piece=4096) == OK
    assert device.restart() == OK
    assert device.lib.acc_counter(device.device) == 7


def test_a_blob_whose_numbers_lie_in_another_order_is_refused(device, monkeypatch) -> None:
    laid = weights.numbers(BUNDLE)
    monkeypatch.setattr(weights, "numbers", lambda bundle: dict(reversed(laid.items())))
    assert device.update(signed(9)) == TOPOLOGY


def test_one_rate_for_a_tensor_is_of_another_topology_than_one_for_each_number(monkeypatch) -> None:
    options = {"algorithm": "maml++", "options": {"hidden": (4,)}}
    bundle = read_bundle(export(start("mlp", (3,), 2, **options)).files.get)
    sizes = weights.rate_sizes(bundle)
    assert len(sizes) > 1
    assert set(sizes.values()) == {1}
    before = weights.topology(bundle)
    laid = weights.numbers(bundle)
    wrong = {name: laid[name.replace("rate.", "param.")].size if name != "lr" else 1 for name in sizes}
    monkeypatch.setattr(weights, "rate_sizes", lambda bundle: wrong)
    assert weights.topology(bundle) != before


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (changed(signed(9), 8), TOPOLOGY),
        (changed(signed(9), 400), SIGNATURE),
        (changed(signed(9), -1 % len(signed(9))), SIGNATURE),
        (changed(signed(9), 40), SIGNATURE),
        (blob(BUNDLE, 9, lambda message: bytes(64)), SIGNATURE),
        (signed(1), OLD),
        (signed(9)[:-1], TRUNCATED),
        (signed(9)[:100], TRUNCATED),
        (b"", TRUNCATED),
        (signed(9) + b"\0", TOPOLOGY),
        (changed(signed(9), 0), TRUNCATED),
    ],
)
def test_other_weights_are_refused_and_the_old_kept(device, wrong: bytes, why: int) -> None:
    assert device.update(signed(2)) == OK
    learnt = taught(device, 20)
    assert device.update(wrong) == why
    assert device.lib.acc_counter(device.device) == 2
    assert (device.state == learnt).all()
    assert device.restart() == OK
    assert device.lib.acc_counter(device.device) == 2


@pytest.mark.parametrize("shuffle", [0, 7])
def test_power_may_fail_at_every_byte_of_an_update(device, shuffle: int) -> None:
    assert device.update(signed(2)) == OK
    cut, counters = 0, set()
    while True:
        device.lib.host_power(device.host, ctypes.c_int64(cut), shuffle)
        told = device.update(signed(3), piece=512)
        device.lib.host_power(device.host, ctypes.c_int64(-1), 0)
        assert device.restart() == OK
        counters.add(device.lib.acc_counter(device.device))
        if told == OK:
            break
        assert counters == {2}
        cut += 1 if cut < 64 or cut > 8160 else 97
    assert counters == {2, 3}
