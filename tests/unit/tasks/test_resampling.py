"""Uneven readings as rows an even step apart: training and device make the same ones, bit for bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, build_in_memory, from_frame
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.pool.windows import read_inputs
from acclimate_device import DeviceError, Windows
from acclimate_device.bundle import parse_manifest
from acclimate_device.mcu.weights import fits_c
from acclimate_device.protocol import MANIFEST, Preprocessing
from acclimate_device.resampling import EvenSteps, step_of
from acclimate_device.testing import tiny_bundle
from tests.support.fleets import fleet

DECLARED = {
    "kind": "regression",
    "task": "device",
    "time": "time",
    "channels": ["x", "count"],
    "targets": ["y"],
    "window": 4,
    "stride": 1,
    "missing": "hold",
    "relative": ["count"],
    "resample_s": 10.0,
    "max_gap": 30.0,
}
LAST = np.array([False, True])
START = 1_768_003_200.0


def manifest_of_one():
    return parse_manifest(tiny_bundle()[MANIFEST])


@st.composite
def readings(draw):
    """Moments after one another, in tenths of a second, and what two channels said."""
    apart = draw(st.lists(st.integers(1, 450), min_size=1, max_size=40))
    moments = START + np.cumsum(apart) / 10
    numbers = st.none() | st.floats(-1e6, 1e6, width=32)
    values = draw(st.lists(st.tuples(numbers, numbers), min_size=len(apart), max_size=len(apart)))
    return moments, np.array(values, dtype=np.float32)


def one_by_one(moments, values):
    even = EvenSteps(10.0, 3, LAST)
    rows = [row for moment, one in zip(moments, values, strict=True) for row in even.add(one, moment)]
    return [*rows, *even.add(np.full(2, np.nan, np.float32), moments[-1] + 1000.05)]  # closes the last one


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(readings())
def test_a_device_makes_the_rows_that_training_saw(drawn):
    moments, values = drawn
    frame = pd.DataFrame({"device": "a", "time": moments, "x": values[:, 0], "count": values[:, 1], "y": 1.0})
    schema = RecordingSchema.from_dict({**DECLARED, "window": 1, "relative": [], "missing": "drop"})
    every = EvenSteps(10.0, 3, np.zeros(2, bool))
    rows = [row for moment, one in zip(moments, values, strict=True) for row in every.add(one, moment)]
    rows += every.add(np.full(2, np.nan, np.float32), moments[-1] + 1000.05)
    try:
        pool = build_in_memory(from_frame(frame), schema)
    except DataError as error:
        if "no task has an example" not in str(error):
            raise
        return
    np.testing.assert_array_equal(pool.values, np.stack([row.values for row in rows]))
    np.testing.assert_array_equal(pool.times, [row.moment for row in rows])


def test_a_step_holds_the_mean_of_its_readings_and_of_a_counter_the_last():
    moments = START + np.array([0.0, 3.0, 8.0, 10.0, 31.0, 200.0])
    values = np.array([[1, 1], [2, np.nan], [4, 7], [6, np.nan], [8, 9], [9, 9]], dtype=np.float32)
    rows = one_by_one(moments, values)
    assert [row.moment - START for row in rows] == [0, 10, 20, 30, 40, 200]
    np.testing.assert_array_equal(rows[1].values, [4.0, 7.0])
    assert np.isnan(rows[2].values).all()
    assert [row.anew for row in rows] == [True, False, False, False, False, True]


def test_ends_of_steps_do_not_depend_on_rounding():
    moments = START + np.arange(1000) / 10
    np.testing.assert_array_equal(np.diff(step_of(moments, 0.1)), 1)


def uneven_fleet() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.concat([fleet(), fleet("2026-01-10 01:00")]).sort_values(["device", "time"], kind="stable")
    frame["time"] += pd.to_timedelta(random.integers(-25, 25, len(frame)), unit="s")
    return frame[random.random(len(frame)) < 0.8].reset_index(drop=True)


def test_windows_of_a_device_are_those_of_training():
    frame = uneven_fleet()
    guessed = guess(from_frame(frame), {"window": 4})
    declared = guessed.declaration
    assert declared["resample_s"] == 60.0, guessed
    assert declared["missing"] == "hold"
    schema = replace(
        RecordingSchema.from_dict(declared), label=None, kind="regression", targets=("flow",), stride=1
    )
    pool = build_in_memory(from_frame(frame), replace(schema, timeline="task"))
    assert any("rows gathered into steps of 60 s" in line for line in pool.info.intake)
    steps = Preprocessing(missing="hold", step_s=pool.schema.step_s, pause=pool.schema.pause)
    manifest = manifest_of_one()
    entry = replace(
        manifest.input,
        shape=(2, 4),
        channels=schema.channels,
        window=4,
        mean=(),
        scale=(),
        preprocessing=steps,
    )
    for task, name in enumerate(pool.task_ids):
        windows = Windows(replace(manifest, input=entry), every=1)
        rows = frame[frame.device == name]
        seconds = (rows.time - pd.Timestamp(0)).dt.total_seconds()
        made = [
            x
            for moment, values in zip(seconds, rows[list(schema.channels)].to_numpy(), strict=True)
            for x in windows.add(values, moment)
        ]
        starts = np.asarray(pool.starts[pool.cells[task] : pool.cells[task + 1]])
        wanted = read_inputs(pool, starts, None)
        known = {x.tobytes() for x in made}
        last = pool.rows[task + 1] - 4  # the last step is complete with a later reading only
        assert all(x.tobytes() in known for x, start in zip(wanted, starts, strict=True) if start < last)
        assert len(starts) > 10
    assert sum(map(pool.examples_of, range(len(pool.task_ids)))) > 0.75 * sum(pool.info.possible)


def test_readings_out_of_order_and_without_a_time_are_refused():
    entry = replace(manifest_of_one().input, preprocessing=Preprocessing(step_s=10.0, pause=3))
    windows = Windows(replace(manifest_of_one(), input=entry))
    reading = [1.0] * len(windows.channels)
    windows.add(reading, START)
    with pytest.raises(DeviceError, match="is not after the last one's"):
        windows.add(reading, START)
    with pytest.raises(DeviceError, match="give the time of each"):
        windows.add(reading)
    assert not windows.add(reading, START - 86_400.0), "a clock that was set back is believed"
    assert not windows.add(reading, START - 86_400.0 + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resample_s": 0}, "must be above 0"),
        ({"time": None, "max_gap": None}, "needs a `time` column"),
        ({"sample_rate_hz": 5.0}, "leave the rate out"),
    ],
)
def test_a_declaration_that_cannot_be_evened_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        RecordingSchema.from_dict({**DECLARED, **change})


def test_microcontrollers_refuse_what_they_cannot_even():
    manifest = parse_manifest(tiny_bundle("closed-form")[MANIFEST])
    assert fits_c(manifest)
    steps = replace(manifest.input.preprocessing, step_s=10.0)
    with pytest.raises(DeviceError, match="evens the steps between readings"):
        fits_c(replace(manifest, input=replace(manifest.input, preprocessing=steps)))
