"""A device's series beside one that forgets nothing: what is looked back to, filled in and answered."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from acclimate_device import calendar
from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import BeyondError, InputError
from acclimate_device.online.series import Series
from acclimate_device.protocol import MANIFEST, Input, Manifest, Output, Preprocessing
from acclimate_device.testing import tiny_bundle

LAGS, SEASON, LEADS = (4, 2, 0), 3, (1, 3)
LIMIT = 4 + 1 + 3  # what the forecast looks back to, and until the last answer
HOUR = 3600.0


def manifest(days: bool = False, leads: tuple[int, ...] = LEADS, **steps) -> Manifest:
    times = calendar.input_names(("day",)) if days else ()
    given = Input(
        shape=(2 + len(times), 3),
        channels=("heat", "power", *times),
        window=5,
        lags=LAGS,
        calendar=("day",) if days else (),
        preprocessing=Preprocessing(missing="season", **steps),
    )
    output = Output(
        "forecasting", len(leads), targets=("power",), horizon=leads[-1], leads=leads, seasons=(SEASON,)
    )
    return replace(parse_manifest(tiny_bundle()[MANIFEST]), input=given, output=output)


def measured(rows: int) -> np.ndarray:
    """Heat and power, some of them missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, 2)).astype(np.float32)
    values[rng.random((rows, 2)) < 0.2] = np.nan
    return values


def filled(values: np.ndarray) -> np.ndarray:
    """A gap is as one season ago, or as the last one where that is not known."""
    whole = values.copy()
    for row in range(len(values)):
        for before in (SEASON, 1):
            if row >= before:
                gone = np.isnan(whole[row])
                whole[row, gone] = whole[row - before, gone]
    return whole


def remembered(values: np.ndarray, row: int) -> np.ndarray:
    """Rows that a device still has after this one; NaN before."""
    kept = values[: row + 1].copy()
    kept[: max(0, row + 1 - LIMIT)] = np.nan
    return kept


@pytest.mark.parametrize("days", [False, True])
def test_a_series_says_what_one_that_forgets_nothing_says_of_the_rows_it_keeps(days: bool) -> None:
    values, series = measured(60), Series(manifest(days))
    whole = filled(values)
    for row in range(len(values)):
        series.add(values[row].tolist(), row * HOUR)
        assert (len(series), series.rows, series.moment) == (min(row + 1, LIMIT), row + 1, row * HOUR)
        kept = remembered(whole, row)
        for back in (0, 1, 3):
            at = row - back - np.array(LAGS)
            expected = kept[at].T if at[0] >= 0 else np.full(1, np.nan)
            found = series.input(back)
            assert (found is None) == bool(np.isnan(expected).any()), (row, back)
            if found is not None:
                np.testing.assert_array_equal(found[:2], expected)
                told = calendar.inputs(at * HOUR, ("day",)).T if days else np.empty((0, 3))
                np.testing.assert_allclose(found[2:], told)
        for lag in (0, 2, LIMIT - 1, LIMIT):
            expected = kept[row - lag, 1] if row >= lag else np.nan
            np.testing.assert_array_equal(series.at_lags([lag]), [[expected]])
        if row >= 3:  # what was filled in is no answer
            np.testing.assert_array_equal(series.answers(3, LEADS), values[[row - 2, row], 1:])
        np.testing.assert_array_equal(series.latest(), values[row, 1:])


@pytest.mark.parametrize("rows", [0, 2, 5, LIMIT, 2 * LIMIT, 2 * LIMIT + 1, 41])
def test_a_series_goes_on_from_its_state_as_if_nothing_had_happened(rows: int) -> None:
    values, went_on, restored = measured(rows + 30), Series(manifest()), Series(manifest())
    for row in range(rows):
        went_on.add(values[row].tolist(), row * HOUR)
    state = {name: array.copy() for name, array in went_on.state().items()}
    restored.restore(state)
    assert (len(restored), restored.rows, restored.moment) == (len(went_on), rows, went_on.moment)
    for row in range(rows, rows + 30):
        for each in (went_on, restored):
            each.add(values[row].tolist(), row * HOUR)
        one, other = went_on.input(), restored.input()
        np.testing.assert_array_equal(went_on.at_lags(range(LIMIT)), restored.at_lags(range(LIMIT)))
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, other)


@pytest.mark.parametrize("spoil", ["long", "unordered", "nan"])
def test_what_is_no_state_of_such_a_series_is_refused(spoil: str) -> None:
    series = Series(manifest())
    for row in range(LIMIT):
        series.add([1.0, 2.0], row * HOUR)
    state = {name: array.copy() for name, array in series.state().items()}
    if spoil == "long":
        state = {name: np.concatenate([array, array[-1:] + 1]) for name, array in state.items()}
    else:
        state["times"][3] = state["times"][2] if spoil == "unordered" else math.nan
    with pytest.raises(ValueError, match="not the rows of such a series"):
        Series(manifest()).restore(state)


def test_rows_that_were_missed_are_told_where_they_came_evenly() -> None:
    series = Series(manifest())
    for row in range(2):
        series.add([1.0, 2.0], row * HOUR)
    assert series.missed(2 * HOUR) is None  # two tell no pace
    series.add([1.0, 2.0], 2 * HOUR)
    assert series.missed(3 * HOUR) == []
    assert series.missed(3.4 * HOUR) == []
    assert series.missed(6 * HOUR) == [3 * HOUR, 4 * HOUR, 5 * HOUR]
    assert len(series.missed((2 + LIMIT) * HOUR)) == LIMIT - 1
    assert series.missed((3 + LIMIT) * HOUR) is None  # nothing would be left to look back to
    series.add([1.0, 2.0], 4 * HOUR)
    assert series.missed(6 * HOUR) is None  # one was left out before
    assert series.missed(5 * HOUR) == []


def test_numbers_that_stand_for_none_are_gaps_and_far_ones_are_refused_by_channel() -> None:
    steps = {"absent": (-999.0,), "beyond": "refuse", "low": (-5.0, -50.0), "high": (5.0, 50.0)}
    series = Series(manifest(**steps))
    assert np.isnan(series.read([-999.0, 1.0])).tolist() == [True, False]
    assert series.read({"power": 50.0, "heat": -5.0}).tolist() == [-5.0, 50.0]
    for row, channel in (([5.1, 0.0], "heat"), ([0.0, -50.5], "power"), ([0.0, 51.0], "power")):
        with pytest.raises(BeyondError, match=rf"channel '{channel}' of the row"):
            series.read(row)
    risen = Series(manifest(**steps | {"relative": ("heat",), "offset": (0.0, 100.0)}))
    assert risen.read([1e9, 149.0]).tolist() == [1e9, 149.0]  # of a counter only the rise is bounded
    with pytest.raises(BeyondError, match="'power'"):
        risen.read([1e9, 49.0])
    assert Series(manifest(**steps | {"beyond": "clamp"})).read([99.0, 99.0]).tolist() == [99.0, 99.0]
    with pytest.raises(InputError, match="holds infinity"):
        series.read([0.0, -math.inf])


def test_rows_come_in_order_and_each_once() -> None:
    series = Series(manifest())
    assert series.moment == -math.inf
    series.add([1.0, 2.0], 7.0)
    for moment in (7.0, 6.0, math.nan):
        with pytest.raises(InputError, match=r"is not after the last one's, 7.0"):
            series.add([1.0, 2.0], moment)
    assert (len(series), series.rows) == (1, 1)


def test_a_series_follows_another_only_where_both_look_back_alike() -> None:
    usual = Series(manifest()).layout
    assert Series(manifest()).layout == usual
    others = (manifest(days=True), manifest(leads=(1, 2)), manifest(step_s=60.0, pause=3))
    assert usual not in [Series(other).layout for other in others]
