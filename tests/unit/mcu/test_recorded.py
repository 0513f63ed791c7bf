"""Decisions on recordings: watches that change arms, gas sensors that age, channels that die.

Made from the data sets in `ACCLIMATE_DATA_DIR` (see `tests/support/recordings.py`); where they are not, each
test says so.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from acclimate.bundle.export import write_bundle
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate.errors import DataError
from acclimate.initialization import ModelSpec, Normalization
from acclimate.simulation import load_scenario, open_streams
from acclimate_device import Device
from acclimate_device.protocol import MANIFEST, dumps
from acclimate_device.testing import SimulatedFlash
from tests.support import bundle_samples
from tests.support.bundle_samples import export
from tests.support.mcu_host import HostDevice, build, generate
from tests.support.recordings import DATA
from tests.unit.bundle import test_closed_form
from tests.unit.mcu.test_decisions import DECIDED, WithoutClock

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
LENGTH, FEEDS = 320, 5
SOURCES = {  # moves: to the other arm; to the next batch in time
    "watch": ("watch", ModelSpec("mlp", (6, 100), 7, {"hidden": (32,)}), (110,), 230),
    "gas": ("gas-drift", ModelSpec("mlp", (128,), 6, {"hidden": (8,)}), (80, 160, 240), 280),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """By source and kind: the streams, and a bundle that fits them with its firmware."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ACCLIMATE_DATA_DIR", str(DATA))
    made = {}

    def get(source: str, kind: str):
        if (source, kind) in made:
            return made[source, kind]
        scenario, spec, moves, dies = SOURCES[source]
        try:
            streams = open_streams(load_scenario(scenario).stream)
        except DataError as missing:
            pytest.skip(f"no recordings of {source}: {missing}")
        lives = [life(streams.feed(n, random.Random(n)), moves, dies, n) for n in range(FEEDS)]
        made[source, kind] = lives, *firmware(kind, spec, streams.labels, lives, tmp_path_factory.mktemp("r"))
        return made[source, kind]

    yield get
    patch.undo()


def life(feed, moves, dies, number):
    """A device's recordings with its drifts."""
    examples = []
    for place in range(LENGTH):
        if place in moves:
            feed.move()
        x, label = feed.next()
        x = np.array(x, np.float32)
        if place >= dies:
            x[number % len(x)] = 0.0
        examples.append((x, label))
    return examples


def firmware(kind, spec, labels, lives, folder):
    """An untrained body, normalized by what was recorded."""
    xs = np.stack([x for x, _ in lives[0][:100]]).reshape(100, spec.input_shape[0], -1)
    by_channel = xs.swapaxes(0, 1).reshape(spec.input_shape[0], -1)
    if kind == "closed-form":
        begun = test_closed_form.start(spec)
    else:
        begun = bundle_samples.start(spec.name, spec.input_shape, spec.outputs, options=spec.options, shots=3)
    normalization = Normalization(
        tuple(by_channel.mean(1).tolist()), tuple((by_channel.std(1) + 1e-3).tolist())
    )
    begun = replace(begun, schema=replace(begun.schema, labels=labels), normalization=normalization)
    write_bundle(export(begun).files, folder / "bundle")
    made = generate(folder / "bundle", folder / "firmware")
    bundle = bundle_in(folder / "bundle")
    files = {**bundle.files, MANIFEST: dumps(bundle.manifest)}
    return files, labels, build(folder / "firmware"), made.files["weights.blob"]


@pytest.mark.parametrize("number", range(FEEDS))
@pytest.mark.parametrize(
    ("source", "kind"), [("watch", "closed-form"), ("gas", "closed-form"), ("gas", "gradient")]
)
def test_decisions_on_recordings_are_the_sdks(recorded, source: str, kind: str, number: int) -> None:
    lives, files, labels, library, blob = recorded(source, kind)
    reports = []
    sdk = Device(
        files.get, SimulatedFlash(), clock=lambda: 1e6, input_shift=WithoutClock(), on_report=reports.append
    )
    device, expected, told = HostDevice(library, blob), [], []
    for x, label in lives[number]:
        expected.append(labels.index(sdk.predict_one(x)))
        sdk.learn_one(x, label)
        told.append(device.predict(x))
        assert device.learn(x, labels.index(label)) == 0
    sdk.close()
    assert told == expected
    counts = device.counts
    assert {name: counts[name] for name in DECIDED} == {name: getattr(reports[-1], name) for name in DECIDED}
    print(source, kind, number, {name: counts[name] for name in ("mistakes", "warnings", "drifts", "resets")})
