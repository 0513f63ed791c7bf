"""The whole loop on the SDK's own small bundle, without hardware: gestures in place of a pump's states."""

import json

import pytest
from pump_monitor.monitor import Monitor

from acclimate_device import Device
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(Device(tiny_bundle().get, SimulatedFlash()), first_window=0)


def lines(windows: list[list[list[float]]], start: int = 0) -> list[str]:
    """Samples at 50 Hz, one a line."""
    rows = [row for window in windows for row in zip(*window, strict=True)]
    return [
        json.dumps({"time": (start + index) / 50, **dict(zip("xyz", row, strict=True))})
        for index, row in enumerate(rows)
    ]


def test_it_learns_its_own_device_from_labels_that_come_after_the_predictions(monitor):
    stream, right = GestureDevice(seed=3), []
    for number in range(120):
        window, truth = stream.example()
        (told,) = monitor.run(lines([window], start=8 * number))
        assert told["window"] == number
        right.append(told["prediction"] == truth)
        assert not list(monitor.run([json.dumps({"window": number, "label": truth})]))
    assert told["adapted"]
    assert sum(right[-60:]) > sum(right[:10]) * 6 * 0.9
    assert sum(right[-60:]) >= 54


def test_what_cannot_be_used_is_told_and_changes_nothing(monitor, caplog):
    window, _ = GestureDevice(seed=3).example()
    broken = lines([window])
    broken[4:4] = ["no JSON", "", json.dumps({"time": 0.071, "x": 1.0})]
    (told,) = monitor.run(broken)
    assert told["window"] == 0
    assert not list(monitor.run(['{"window": 0, "label": "wave"}', '{"window": 99, "label": "tap"}']))
    said = caplog.text
    assert "no JSON" in said
    assert "no channel 'y'" in said
    assert "wave" in said
    assert "window 99 is not remembered" in said


def test_a_dead_sensor_gives_no_prediction(monitor, caplog):
    dead = [[0.5] * 8 for _ in "xyz"]
    live, _ = GestureDevice(seed=3).example()
    told = list(monitor.run(lines([dead, live])))
    assert [one["window"] for one in told] == [1]
    assert "skipped" in caplog.text
