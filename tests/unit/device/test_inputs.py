"""What counts as a shift of the inputs when versions come and go."""

from dataclasses import replace

import numpy as np

from acclimate_device import Device, OnlinePolicy
from acclimate_device.drift import InputShift
from acclimate_device.online.inputs import InputWatch
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import Manifest
from acclimate_device.testing import SimulatedFlash, tiny_bundle

MANIFEST: Manifest = Device(tiny_bundle().get, SimulatedFlash()).manifest


def see(watch: InputWatch, manifest: Manifest, offset: float = 0.0, number: int = 400) -> None:
    schema, noise = Schema(manifest), np.random.default_rng(number)
    for _ in range(number):
        watch.see(schema, noise.normal(offset, 1.0, schema.shape).astype(np.float32))


def otherwise_normalized(manifest: Manifest) -> Manifest:
    width = len(manifest.input.channels)
    return replace(manifest, input=replace(manifest.input, mean=(5.0,) * width, scale=(9.0,) * width))


def with_one_channel_less(manifest: Manifest) -> Manifest:
    given = manifest.input
    shape = (given.shape[0] - 1, *given.shape[1:])
    return replace(
        manifest,
        input=replace(
            given, shape=shape, channels=given.channels[1:], mean=given.mean[1:], scale=given.scale[1:]
        ),
    )


def test_a_version_that_normalizes_otherwise_is_no_drift() -> None:
    watch = InputWatch(InputShift(), None)
    see(watch, MANIFEST)
    see(watch, otherwise_normalized(MANIFEST))
    assert watch.news() is None
    see(watch, otherwise_normalized(MANIFEST), offset=3.0)  # the reference of the first version still serves
    news = watch.news()
    assert news is not None
    assert news[0] == "drift"


def test_a_version_of_other_channels_makes_a_reference_of_its_own() -> None:
    watch = InputWatch(InputShift(), None)
    see(watch, MANIFEST)
    see(watch, with_one_channel_less(MANIFEST), offset=3.0)
    assert watch.news() is None
    see(watch, with_one_channel_less(MANIFEST))
    assert watch.news() is not None


def test_what_was_learnt_of_the_inputs_outlives_a_restart_of_the_same_measure() -> None:
    watch = InputWatch(InputShift(), None)
    assert watch.snapshot() is None
    see(watch, MANIFEST)
    kept = watch.snapshot()
    blocks = watch._detector._blocks
    assert blocks > 20
    for manifest, known in ((MANIFEST, blocks), (otherwise_normalized(MANIFEST), 0)):
        again = InputWatch(InputShift(), None, kept)
        see(again, manifest, number=4)
        assert again._detector._blocks in (known, known + 1)
    for spoilt in (b"{}", b"", b"[]", kept[:-9] + b"}"):
        again = InputWatch(InputShift(), None, spoilt)
        see(again, MANIFEST, number=4)
        assert again._detector._blocks == 1, "learnt anew, and nothing raised"


def test_a_device_keeps_it_every_hour_and_at_the_end() -> None:
    now, flash = [1e9], SimulatedFlash()

    def start(flash: SimulatedFlash) -> Device:
        return Device(tiny_bundle().get, flash, OnlinePolicy(watch_every=1), clock=lambda: now[0])

    device = start(flash)
    noise = np.random.default_rng(1)

    def live(of: Device, inputs: int) -> None:
        for _ in range(inputs):
            of.predict_one(noise.normal(size=of.manifest.input.shape).astype(np.float32))

    live(device, 40)
    now[0] += 3600.0
    device.tick()
    cut = Device(
        tiny_bundle().get, flash.after_power_cut(), OnlinePolicy(watch_every=1), clock=lambda: now[0]
    )
    live(cut, 1)
    assert cut._life.inputs._detector._blocks == 10
    live(device, 20)
    device.close()
    ended = start(flash)
    live(ended, 1)
    assert ended._life.inputs._detector._blocks == 15
