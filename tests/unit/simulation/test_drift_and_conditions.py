import random
from dataclasses import replace

import numpy as np
import pytest

from acclimate.simulation.conditions import conditions
from acclimate.simulation.distortion import distortion, shifted, turned
from acclimate.simulation.publishing import next_version
from acclimate.simulation.scenario import DriftSection, Scenario
from acclimate.simulation.streams import interleaved
from acclimate.simulation.world import release_of
from acclimate_device.bundle import read_bundle
from acclimate_device.errors import BundleError
from acclimate_device.runtime import load_engine
from acclimate_device.testing import tiny_bundle


def an_input() -> np.ndarray:
    return np.arange(24, dtype=np.float32).reshape(3, 8)


def test_a_turned_sensor_keeps_the_length_of_every_vector_and_a_quarter_turn_swaps_axes():
    x = an_input()
    quarter = turned(x, (0.0, 0.0, 1.0), np.pi / 2)
    np.testing.assert_allclose(quarter[0], -x[1], atol=1e-5)
    np.testing.assert_allclose(quarter[1], x[0], atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(turned(x, (0.6, 0.0, 0.8), 1.0), axis=0), np.linalg.norm(x, axis=0), rtol=1e-5
    )


def test_an_offset_moves_each_channel_by_its_own_deviation():
    moved = shifted(an_input(), np.array([1.0, 0.0, -2.0], np.float32))
    np.testing.assert_allclose((moved - an_input()).mean(axis=1), [1.0, 0.0, -2.0])


@pytest.mark.parametrize("kind", ["scale", "offset", "rotation", "dead-channel"])
def test_drift_that_has_not_begun_changes_nothing_and_never_the_input_itself(kind: str):
    drift = distortion(DriftSection(name="a", kind=kind), np.ones(3, np.float32), random.Random(0))
    x = an_input()
    np.testing.assert_array_equal(drift(x, 0.0), x)
    assert not np.array_equal(drift(x, 1.0), x)
    np.testing.assert_array_equal(x, an_input())


def test_a_device_has_the_same_lot_every_time_and_adding_a_drift_leaves_the_rest_alone():
    scenario = Scenario(
        name="x",
        devices=50,
        offline={"share": 0.5},
        clocks={"skew": 60},
        arrivals={"over": 60, "pattern": "random"},
    )
    more = scenario.model_copy(update={"drifts": (DriftSection(name="a", kind="scale", share=0.5),)})
    lots = [conditions(scenario, device) for device in range(50)]
    assert lots == [conditions(scenario, device) for device in range(50)]
    assert lots == [replace(conditions(more, device), drifts=()) for device in range(50)]
    assert 10 < sum(lot.offline for lot in lots) < 40
    assert 10 < sum(bool(conditions(more, device).drifts) for device in range(50)) < 40


def test_interleaving_takes_labels_in_turn_and_keeps_each_in_its_order():
    blocks = [(np.float32(value), label) for label, count in (("a", 3), ("b", 2)) for value in range(count)]
    assert [(int(x), label) for x, label in interleaved(blocks)] == [
        (0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"),
    ]  # fmt: skip


def test_versions_made_for_a_simulation_pass_or_fail_the_checks_that_devices_make():
    for behaviour in ("good", "harmful"):
        files = next_version(tiny_bundle(), 2, behaviour)
        assert load_engine(read_bundle(files.get)).manifest.release.version == 2
        assert release_of(files).content_hash != release_of(tiny_bundle()).content_hash
    with pytest.raises(BundleError, match="sanity"):
        load_engine(read_bundle(next_version(tiny_bundle(), 2, "broken").get))
