"""A stream of measurements on a real bundle: inputs as in training, answers in time, trust by errors."""

import datetime as dt
import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from acclimate.bundle.export import build_bundle
from acclimate.initialization import AdaptationPolicy, Initialization, ModelSpec
from acclimate.models import build, parameters_of
from acclimate.tasks import RecordingSchema, build_in_memory, from_arrays, stream
from acclimate_device import Device, Forecaster, OnlinePolicy
from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import BeyondError, InputError
from acclimate_device.online.blend import Blend
from acclimate_device.protocol import MANIFEST, dumps
from acclimate_device.testing import SimulatedFlash, tiny_bundle
from tests.support.bundle_samples import release_of

ROWS, DAY = 700, 24
START_S = dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()


@pytest.fixture(scope="module")
def pool():
    """A meter of heat and power by the hour; power is missing here and there."""
    rng = np.random.default_rng(0)
    hours = np.arange(ROWS)
    heat = 20 + 5 * np.sin(hours / DAY * 2 * np.pi) + rng.normal(0, 0.5, ROWS)
    power = 900 + 100 * np.cos(hours / DAY * 2 * np.pi) + rng.normal(0, 9, ROWS)
    power[rng.choice(ROWS, 25, replace=False)] = np.nan
    columns = {
        "meter": np.zeros(ROWS, int),
        "time": np.datetime64("2024-01-01", "s") + hours * np.timedelta64(3600, "s"),
        "heat": heat,
        "power": power,
    }
    declared = {
        "kind": "forecasting",
        "task": "meter",
        "time": "time",
        "channels": ["heat", "power"],
        "targets": ["power"],
        "window": 4,
        "stride": 1,
        "leads": [1, 6],
        "seasons": [DAY],
        "calendar": ["day", "week"],
        "missing": "season",
        "sample_rate_hz": 1 / 3600,
    }
    return build_in_memory(from_arrays(columns), RecordingSchema.from_dict(declared))


@pytest.fixture(scope="module")
def files(pool):
    """A forecast body before any training, which says "no change" and adapts from there."""
    normalization = pool.normalization(np.arange(1))
    spec = ModelSpec("forecast", pool.input_shape, 2, {"targets": [1], "calendar": 11, "hidden": [8]})
    made = Initialization(
        params=parameters_of(build(spec)),
        model=spec,
        schema=pool.schema,
        normalization=normalization,
        adaptation=AdaptationPolicy(5, 0.05, 16, ("head.weight", "head.bias", "linear.weight"), "mae"),
        learner="joint",
    )
    return build_bundle(made, release_of(made)).files


def opened(files, **policy):
    return Device(files.get, SimulatedFlash(), OnlinePolicy(**policy))


def rows_of(pool):
    """The measurements as they came, gaps included."""
    gone = np.isnan(pool.targets[:, 0])
    values = np.array(pool.values[:, :2])
    values[gone, 1] = np.nan
    return values, np.asarray(pool.times)


def test_inputs_and_answers_are_those_of_training(pool, files):
    forecaster = Forecaster(opened(files), learn_every=0)
    values, times = rows_of(pool)
    expected = {one.row: one for one in stream(pool, 0)}
    seen = 0
    for row in range(ROWS):
        forecaster.observe_one(values[row], times[row])
        horizon = 6
        made = row - horizon
        if made in expected:
            assert np.array_equal(forecaster._series.input(horizon), expected[made].x), row
            answers = forecaster._series.answers(horizon, (1, 6))
            assert answers.ravel() == pytest.approx(expected[made].y)
            seen += 1
    assert seen == len(expected) > 500


def test_nothing_is_forecast_until_enough_of_the_past_is_known(pool, files):
    forecaster = Forecaster(opened(files))
    values, times = rows_of(pool)
    made = [forecaster.observe_one(values[row], times[row]) for row in range(60)]
    history = pool.info.schema.history
    assert all(forecast is None for forecast in made[: history - 1])
    assert all(forecast.shape == (2,) for forecast in made[history - 1 :])


def test_the_clock_of_the_machine_or_of_the_sample_tells_the_calendar(pool, files):
    values, times = rows_of(pool)
    ticking = iter(times)
    by_clock = Forecaster(opened(files), 0, lambda: next(ticking))
    by_date = Forecaster(opened(files), 0)
    for row in range(220):
        date = dt.datetime(2024, 1, 1) + dt.timedelta(hours=row)
        a = by_clock.observe_one(values[row])
        b = by_date.observe_one({"power": values[row, 1], "heat": values[row, 0]}, date)
        assert (a is None and b is None) or np.array_equal(a, b)
    assert np.array_equal(by_clock._series.input(), by_date._series.input())


def test_it_learns_from_what_it_forecast_and_comes_to_trust_the_best(pool, files):
    """The start says "no change", which a day of sine refutes; what was a day ago is better, and is found."""
    forecaster = Forecaster(opened(files, every=2, judge_from=2), learn_every=1)
    values, times = rows_of(pool)
    errors = {"blend": [], "start": [], "day": []}
    device = forecaster._device
    made = {}
    for row in range(ROWS):
        forecast = forecaster.observe_one(values[row], times[row])
        if row > 400 and row - 6 in made and np.isfinite(values[row, 1]):
            ours, start, day = made[row - 6]
            for name, value in zip(errors, (ours, start, day), strict=True):
                errors[name].append(abs(value - values[row, 1]))
        if forecast is not None:
            start = device.predict_start_one(forecaster._series.input())[1]
            made[row] = forecast[1], start, forecaster._series.at_lags([18])[0, 0]
    blend, start, day = (float(np.mean(errors[name])) for name in ("blend", "start", "day"))
    assert device._life.recorder.steps > 0
    assert day < 0.5 * start
    assert blend <= 1.02 * day


def test_a_restart_changes_no_answer_and_missed_rows_are_gaps(pool, files):
    rows, flash = list(zip(*rows_of(pool), strict=True)), SimulatedFlash()
    missed = {120, 121, 122}

    def start(flash):
        return Forecaster(Device(files.get, flash, OnlinePolicy(save_s=0.0)), learn_every=0)

    went_on, restarted = start(SimulatedFlash()), start(flash)
    answers = 0
    for number, (values, at) in enumerate(rows[:220]):
        if number in (90, 123, 171):
            flash = flash.after_power_cut()
            restarted = start(flash)
        if number in missed:
            went_on.observe_one([np.nan] * 2, at)
            continue
        expected, found = went_on.observe_one(values, at), restarted.observe_one(values, at)
        assert (expected is None) == (found is None)
        if expected is not None:
            answers += 1
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(restarted.chosen, went_on.chosen)
    assert answers > 100


def test_what_it_knows_is_kept_by_the_time_of_the_rows_whatever_its_unit(files):
    manifest = parse_manifest(files[MANIFEST])
    in_minutes = replace(manifest, input=replace(manifest.input, time_unit_s=60.0))
    for unit_s, bundle in ((1.0, files), (60.0, {**files, MANIFEST: dumps(in_minutes)})):
        device = opened(bundle, save_s=7200.0)
        device.keep = Mock(wraps=device.keep)
        forecaster = Forecaster(device, 0)
        for hour in range(20):
            forecaster.observe_one([20.0, 900.0 + hour], (START_S + 3600 * hour) / unit_s)
        assert device.keep.call_count == 10
    with pytest.raises(InputError, match="a unit of their own"):
        forecaster.observe_one([20.0, 900.0])


def test_what_was_kept_of_another_bundle_or_is_damaged_is_left(pool, files):
    rows, flash = list(zip(*rows_of(pool), strict=True)), SimulatedFlash()
    device = Device(files.get, flash, OnlinePolicy(save_s=0.0))
    forecaster = Forecaster(device, learn_every=0)
    for values, at in rows[:60]:
        forecaster.observe_one(values, at)
    kept = device.kept("forecaster")
    head, _, body = kept.partition(b"\n")
    for spoilt in (
        b"",
        b"{}",
        head + b"\n",
        head + b"\n" + body[:-40],
        head.replace(b"power", b"steam") + b"\n" + body,
    ):
        assert device.keep("forecaster", spoilt)
        fresh = Forecaster(device, learn_every=0)
        assert len(fresh._series) == 0
        assert fresh.observe_one(*rows[0]) is None
    assert device.keep("forecaster", kept)
    late = Forecaster(device, learn_every=0)
    assert len(late._series) == len(forecaster._series)
    assert late.observe_one(rows[60][0], rows[60][1] + 1e7) is None, "months later the past is begun anew"
    for name, data in (("../boot", b""), ("", b""), ("x", bytes(2**20 + 1))):
        with pytest.raises(ValueError, match="bytes"):
            device.keep(name, data)


def test_a_gap_is_never_an_answer(pool, files, monkeypatch):
    forecaster = Forecaster(opened(files), learn_every=1)
    learnt = []
    monkeypatch.setattr(forecaster._device, "learn_one", lambda x, y: learnt.append(y))
    values, times = rows_of(pool)
    for row in range(200):
        forecaster.observe_one([values[row, 0], np.nan if row > 60 else values[row, 1]], times[row])
    assert len(learnt) < 20
    assert np.isfinite(np.array(learnt)).all()
    assert forecaster._series.input() is not None, "a gap takes the value of a season before"


@pytest.mark.parametrize(
    ("values", "moment", "says"),
    [
        ([1.0], START_S, "one for each of"),
        ({"heat": 1.0}, START_S, "no channel 'power'"),
        (["warm", 1.0], START_S, "not numbers"),
        ([1.0, float("inf")], START_S, "infinity"),
        ([1.0, 2.0], float("nan"), "the time of the row is nan"),
        ([1.0, 2.0], "noon", "neither seconds"),
        ([1.0, 2.0], START_S * 1e3, "not thousandths or less"),
        ([1.0, 2.0], np.int64(START_S * 1e9), "which no calendar has"),
        ([1.0, 2.0], pd.NaT, "neither seconds"),
        ([1.0, 2.0], np.datetime64("NaT"), "which no calendar has"),
        ({"power": 1.0, "heat": 2j}, START_S, "not numbers"),
    ],
)
def test_a_bad_row_is_refused_and_changes_nothing(files, values, moment, says):
    forecaster = Forecaster(opened(files))
    forecaster.observe_one([1.0, 2.0], START_S - 60)
    with pytest.raises(InputError, match=says):
        forecaster.observe_one(values, moment)
    with pytest.raises(InputError, match="in order, each once"):
        forecaster.observe_one([1.0, 2.0], START_S - 60)
    assert len(forecaster._series) == 1
    forecaster.observe_one([1.0, 2.0], START_S)


def test_a_glitch_is_refused_once_where_the_bundle_says_so_and_held_at_the_edge_where_not(pool, files):
    raw = json.loads(files[MANIFEST])
    raw["input"]["preprocessing"]["beyond"] = "refuse"
    values, times = rows_of(pool)
    forecaster = Forecaster(opened({**files, MANIFEST: json.dumps(raw).encode()}), learn_every=0)
    edge = Forecaster(opened(files), learn_every=0)
    for row in range(220):
        if row == 200:
            with pytest.raises(BeyondError, match=r"'power' of the row .* give NaN where it is wrong"):
                forecaster.observe_one([20.0, 1e7], times[row])
            assert forecaster._series.rows == 200  # nothing changed
            forecaster.observe_one([20.0, np.nan], times[row])
            assert np.isfinite(edge.observe_one([20.0, 1e7], times[row])).all()
        else:
            forecaster.observe_one(values[row], times[row])
            answer = edge.observe_one(values[row], times[row])
    assert answer is not None
    assert edge._device._life.active.schema.take_clamped() > 0


def test_counters_beside_a_forecast_keep_their_steps(pool):
    """Of 1.9e9 Wh float32 keeps every 128th."""
    counted = 1.9e9 + np.cumsum(np.random.default_rng(3).uniform(0, 9, ROWS))
    columns = {"meter": np.zeros(ROWS, int), "time": pool.times, "wh": counted, "power": pool.targets[:, 0]}
    declared = {
        "kind": "forecasting",
        "task": "meter",
        "time": "time",
        "targets": ["power"],
        "window": 4,
        "channels": ["wh", "power"],
        "leads": [1],
        "relative": ["wh"],
        "stride": 1,
        "missing": "hold",
    }
    counters = build_in_memory(from_arrays(columns), RecordingSchema.from_dict(declared))
    spec = ModelSpec("forecast", counters.input_shape, 1, {"targets": [1], "calendar": 0, "hidden": [4]})
    made = Initialization(
        params=parameters_of(build(spec)),
        model=spec,
        schema=counters.schema,
        normalization=counters.normalization(np.arange(1)),
        adaptation=AdaptationPolicy(5, 0.05, 16, ("head.weight",), "mae"),
        learner="joint",
    )
    forecaster = Forecaster(opened(build_bundle(made, release_of(made)).files), learn_every=0)
    seen = [one for one in stream(counters, 0) if np.isfinite(one.x).all()]
    for row in range(100):
        forecaster.observe_one([counted[row], columns["power"][row]], float(pool.times[row]))
        same = next((one for one in seen if one.row == row), None)
        if same is not None:
            assert np.array_equal(forecaster._series.input(), same.x), row


def test_a_bundle_that_does_not_forecast_is_refused():
    with pytest.raises(InputError, match="classification"):
        Forecaster(Device(tiny_bundle().get, SimulatedFlash()))


def test_a_blend_answers_with_the_best_and_never_for_long_with_worse():
    """Three experts: the start, a better model, a worse one; then the better one breaks."""
    rng = np.random.default_rng(1)
    blend = Blend(3, 2, 1, 1, season=5)
    sums = np.zeros((2, 3))
    late = []
    for moment in range(4000):
        broken = moment >= 2000
        spread = np.array([1.0, 4.0 if broken else 0.5, 2.0])
        forecasts = (spread * rng.normal(size=3)).reshape(3, 1, 1).astype(np.float32)
        candidates = blend.candidates(forecasts)
        answer = blend.answer(candidates)
        if moment < 2000:
            sums[0] += np.abs(forecasts[:, 0, 0])
            late.append(abs(float(answer[0, 0])))
        elif moment >= 2500:
            sums[1] += np.abs(forecasts[:, 0, 0])
            late.append(abs(float(answer[0, 0])))
        blend.score(candidates, np.zeros(1, np.float32))
    assert sum(late[:2000]) <= 1.05 * sums[0].min()
    assert sum(late[2000:]) <= 1.05 * sums[1].min()


def test_the_start_answers_until_there_is_evidence():
    blend = Blend(3, 2, 1, 1, season=24)
    forecasts = np.array([1.0, 2.0, 3.0], np.float32).reshape(3, 1, 1)
    assert blend.answer(blend.candidates(forecasts)).item() == 1.0
    unknown = np.array([1.0, 2.0, np.nan], np.float32).reshape(3, 1, 1)
    assert np.isfinite(blend.candidates(unknown)[-1]).all()


def test_uneven_measurements_are_gathered_into_the_steps_of_training(files):
    manifest = parse_manifest(files[MANIFEST])
    steps = replace(manifest.input.preprocessing, step_s=3600.0, pause=6)
    evened = {**files, MANIFEST: dumps(replace(manifest, input=replace(manifest.input, preprocessing=steps)))}
    as_given, gathered = Forecaster(opened(files), 0), Forecaster(opened(evened), 0)
    rng = np.random.default_rng(1)
    for hour in range(80):
        readings = rng.normal((20, 900), (5, 100), (4, 2)).astype(np.float32)
        ends = START_S + hour * 3600
        told = [
            gathered.observe_one(reading, ends - 3600 + after)
            for reading, after in zip(readings, (300, 301, 2000, 3600), strict=True)
        ]
        assert told[:3] == [None] * 3
        wanted = as_given.observe_one(readings.astype(np.float64).mean(axis=0).astype(np.float32), ends)
        np.testing.assert_array_equal(told[3], wanted)
    assert told[3] is not None
    assert gathered.observe_one(readings[0], ends + 12 * 3600) is None  # a pause: the past begins anew


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("years", [1, 60])
def test_a_clock_that_is_set_back_begins_the_past_anew(files, even, years):
    """Years ahead at boot, or one sample from a sensor that was: what comes after is not refused for ever."""
    if even:
        manifest = parse_manifest(files[MANIFEST])
        steps = replace(manifest.input.preprocessing, step_s=3600.0, pause=6)
        files = {
            **files,
            MANIFEST: dumps(replace(manifest, input=replace(manifest.input, preprocessing=steps))),
        }
    rng, flash = np.random.default_rng(2), SimulatedFlash()
    forecaster = Forecaster(Device(files.get, flash), 0)
    for hour in range(60):
        ahead = forecaster.observe_one(rng.normal((20, 900), 5), START_S + (years * 365 * 24 + hour) * 3600)
    assert ahead is not None
    forecaster._device.close()
    forecaster = Forecaster(Device(files.get, flash), 0)  # and a restart does not bring it back
    with pytest.raises(InputError, match="one for each of"):
        forecaster.observe_one([1.0], START_S)
    told = [forecaster.observe_one(rng.normal((20, 900), 5), START_S + hour * 3600) for hour in range(60)]
    assert told[0] is None
    assert told[-1] is not None


def test_the_hour_that_local_time_repeats_is_left_out(pool, files):
    values, _ = rows_of(pool)
    hours = iter([*range(50), 49, *range(50, 60)])
    forecaster = Forecaster(opened(files), 0, lambda: START_S + next(hours) * 3600.0)
    told = [forecaster.observe_one(values[row]) for row in range(61)]
    assert told[50] is None
    assert told[49] is not None
    assert told[51] is not None
