"""Windows out of readings: whole, in order, as often as asked for."""

from dataclasses import replace

import numpy as np
import pytest

from acclimate_device import Device, Windows, calendar
from acclimate_device.errors import InputError
from acclimate_device.protocol import Manifest, Preprocessing
from acclimate_device.testing import SimulatedFlash, tiny_bundle

MANIFEST: Manifest = Device(tiny_bundle().get, SimulatedFlash()).manifest
LENGTH = MANIFEST.input.window


def rows(number: int) -> list[list[float]]:
    return [[float(row), row + 0.25, row + 0.5] for row in range(number)]


@pytest.mark.parametrize(
    ("every", "first"), [(None, [0, 8, 16]), (2, [0, 2, 4]), (8, [0, 8, 16]), (11, [3, 14, 25])]
)
def test_a_window_comes_whenever_enough_rows_are_new_and_as_many_are_there(
    every: int | None, first: list[int]
) -> None:
    windows = Windows(MANIFEST, every)
    made = [window for row in rows(40) for window in windows.add(row)]
    assert LENGTH == 8
    assert [int(window[0, 0]) for window in made[:3]] == first
    for window in made:
        np.testing.assert_array_equal(window[1], window[0] + 0.25)
        np.testing.assert_array_equal(np.diff(window[0]), 1.0)


def test_a_number_that_stands_for_none_is_missing_and_a_row_by_name_is_in_order() -> None:
    entry = replace(MANIFEST.input, preprocessing=Preprocessing(absent=(-999.0, 5.0)))
    windows = Windows(replace(MANIFEST, input=entry))
    for row in rows(LENGTH - 1):
        assert windows.add(row) == []
    (window,) = windows.add({"z": 5.0, "y": -999.0, "x": 7.5})
    assert np.isnan(window[:, -1]).tolist() == [False, True, True]
    assert np.isnan(window).sum() == 3  # one row held a 5


def test_a_bundle_with_a_calendar_or_even_steps_asks_for_the_time() -> None:
    told = replace(MANIFEST.input, channels=(*"xyz", *calendar.input_names(("day",))), calendar=("day",))
    by_clock = Windows(replace(MANIFEST, input=told))
    for row in rows(LENGTH - 1):
        by_clock.add(row)
    with pytest.raises(InputError, match="takes the calendar: give the time"):
        by_clock.add([1.0, 2.0, 3.0])
    moments = 3600.0 * np.arange(24)
    (window,) = [one for row, at in zip(rows(24), moments, strict=True) for one in by_clock.add(row, at)][1:2]
    np.testing.assert_allclose(window[3:], calendar.inputs(moments[8:16], ("day",)).T, rtol=1e-6)
    even = replace(MANIFEST.input, preprocessing=Preprocessing(step_s=1.0, pause=4))
    with pytest.raises(InputError, match="evens the steps"):
        Windows(replace(MANIFEST, input=even)).add([1.0, 2.0, 3.0])


def test_each_reading_of_a_bundle_of_rows_is_an_input() -> None:
    windows = Windows(replace(MANIFEST, input=replace(MANIFEST.input, shape=(3,), window=1)))
    made = [window for row in rows(4) for window in windows.add(row)]
    assert [window.tolist() for window in made] == rows(4)
