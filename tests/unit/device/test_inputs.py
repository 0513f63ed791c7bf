"""What counts as a shift of the inputs when versions come and go."""

from dataclasses import replace

import numpy as np

from acclimate_device import Device
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
