"""Seasons are found where there are some, and in noise, trends and nights of zeros none that is not there."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.tasks import RecordingSchema
from acclimate.tasks.guessing.seasons import autocorrelation, find_seasons, forecast_entries

HOUR_S = 3600.0


def rhythm(rows=2000, season=24, week=0.0, noise=0.3, seed=0, devices=3):
    rng = np.random.default_rng(seed)
    row = np.arange(rows)
    made = []
    for device in range(devices):
        one = (1 + device) * (np.sin(2 * np.pi * row / season) + noise * rng.normal(size=rows))
        made.append(one + week * ((row // season) % 7 >= 5) + 50 * device)
    return made


@given(season=st.integers(5, 60), seed=st.integers(0, 99), noise=st.floats(0.05, 0.5))
@settings(max_examples=20, deadline=None)
def test_a_season_of_any_length_is_found(season, seed, noise):
    found = find_seasons(rhythm(season=season, seed=seed, noise=noise), None)
    assert found
    assert abs(found[0][0] - season) <= max(1, season // 20)


def test_a_day_of_the_clock_is_a_day_exactly():
    found = find_seasons(rhythm(season=24, noise=1.0), HOUR_S)
    assert found[0][0] == 24
    assert "a day is 24 rows" in found[0][1]


def test_a_week_is_seen_beside_the_day():
    found = find_seasons(rhythm(season=24, week=3.0), HOUR_S)
    assert [length for length, _ in found] == [24, 168]


def test_nights_of_zeros_have_a_day():
    row = np.arange(2000)
    rng = np.random.default_rng(0)
    sun = np.maximum(0, np.sin(2 * np.pi * row / 24)) * rng.uniform(0.3, 1, 2000)
    assert find_seasons([sun, 5 * sun], HOUR_S)[0][0] == 24


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_noise_trends_and_random_walks_have_none(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(3, 1500))
    assert find_seasons(list(noise), HOUR_S) == []
    assert find_seasons(list(noise + 0.1 * np.arange(1500)), HOUR_S) == []


def test_gaps_constants_and_short_series_do_no_harm():
    gone = rhythm()
    for one in gone:
        one[100:400] = np.nan
        one[::7] = np.nan
    assert find_seasons(gone, HOUR_S)[0][0] == 24
    assert find_seasons([np.ones(500)], None) == []
    assert find_seasons([np.arange(10.0)], None) == []
    assert find_seasons([], None) == []


def test_autocorrelation_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    series = np.cumsum(rng.normal(size=60))
    level = np.polyval(np.polyfit(np.arange(60), series, 1), np.arange(60))
    rest = series - level
    slow = [np.mean(rest[: 60 - lag] * rest[lag:]) for lag in range(10)]
    assert autocorrelation(series, 10) == pytest.approx(np.array(slow) / slow[0])


def test_what_is_written_is_a_declaration_with_a_reason_for_each_key():
    declared: dict[str, Any] = {
        "kind": "forecasting",
        "task": "d",
        "time": "t",
        "channels": ["a"],
        "targets": ["a"],
    }
    declared |= {"window": 128, "sample_rate_hz": 1 / HOUR_S, "max_gap": 9.0}
    found = {
        key: (value, why)
        for key, value, why in forecast_entries(declared, {}, rhythm(week=3.0), 2000 * HOUR_S)
    }
    assert found["seasons"][0] == [24, 168]
    assert found["calendar"][0] == ["day", "week"]
    assert (found["window"][0], found["horizon"][0], found["stride"][0]) == (24, 24, 1)
    assert found["max_gap"][0] is None, "a season runs across nights"
    assert all(why for _, why in found.values())
    kept = {key: value for key, (value, _) in found.items() if value not in (None, [])}
    schema = RecordingSchema.from_dict({key: v for key, v in declared.items() if key != "max_gap"} | kept)
    assert schema.history < 2000 / 3


def test_a_long_horizon_is_forecast_at_some_of_its_steps():
    declared: dict[str, Any] = {
        "kind": "forecasting",
        "task": "d",
        "channels": ["a"],
        "targets": ["a"],
        "window": 32,
    }
    entries = forecast_entries(declared, {"horizon": 500, "window": 32}, rhythm(season=40), None)
    found = {key: value for key, value, _ in entries}
    assert "window" not in found
    assert found["leads"][-1] == 500
    assert len(found["leads"]) == 24
    assert "calendar" not in found
