from dataclasses import replace

import pytest
from pump_monitor.messages import Label, MessageError, Sample, parse
from pump_monitor.windows import Windows

from acclimate_device.protocol import Input

THREE_AT_10_HZ = Input(shape=(2, 3), channels=("pressure", "flow"), window=3, sample_rate_hz=10.0)


def sample(time: float, pressure: float = 1.0, flow: float = 2.0) -> Sample:
    return Sample(time, {"flow": flow, "pressure": pressure})


def test_windows_touch_and_are_channels_by_time():
    windows = Windows(THREE_AT_10_HZ)
    found = [windows.add(sample(0.1 * index, pressure=index)) for index in range(6)]
    assert found == [None, None, [[0, 1, 2], [2, 2, 2]], None, None, [[3, 4, 5], [2, 2, 2]]]


def test_no_window_spans_a_gap_and_one_lost_sample_is_none():
    windows = Windows(THREE_AT_10_HZ)
    assert [windows.add(sample(time)) for time in (0.0, 0.1, 0.5, 0.6)] == [None] * 4
    assert windows.add(sample(0.8)) is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flow": 1.0}, "no channel 'pressure'"),
        ({"pressure": "high", "flow": 1.0}, "no number"),
        ({"pressure": 10**400, "flow": 1.0}, "no number"),
    ],
)
def test_a_sample_that_does_not_fit_is_named_and_leaves_the_window_as_it_was(values, message):
    windows = Windows(THREE_AT_10_HZ)
    windows.add(sample(0.0))
    with pytest.raises(MessageError, match=message):
        windows.add(Sample(0.1, values))
    with pytest.raises(MessageError, match="not later"):
        windows.add(sample(0.0))
    assert windows.add(sample(0.1)) is None
    assert windows.add(sample(0.2)) is not None


def test_a_sample_that_a_network_held_up_costs_no_window():
    windows = Windows(THREE_AT_10_HZ)
    windows.add(sample(0.0))
    windows.add(sample(0.1))
    with pytest.raises(MessageError, match="not later"):
        windows.add(sample(-0.9))
    assert windows.add(sample(0.2)) is not None


@pytest.mark.parametrize("rate", [10.0, 0.0])
def test_a_sensor_whose_clock_is_set_back_goes_on(rate):
    windows = Windows(replace(THREE_AT_10_HZ, sample_rate_hz=rate))
    windows.add(sample(1e9))
    assert [windows.add(sample(time)) is None for time in (0.0, 0.1, 0.2)] == [True, True, False]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "pressure 1",
            "[1]",
            "{}",
            '{"time": 1}',
            '{"window": 1.5, "label": "run"}',
            "\ufffd\0",
            "[" * 100_000,
        ),
        *(f'{{"time": {time}, "pressure": 1}}' for time in ("NaN", "Infinity", "1e400", "9" * 400, 1.7e12)),
    ],
    ids=lambda line: line[:30],
)
def test_lines_that_are_neither_sample_nor_label(line):
    with pytest.raises(MessageError):
        parse(line)


def test_samples_and_labels():
    assert parse('{"time": 1, "pressure": 2.5}') == Sample(1.0, {"pressure": 2.5})
    assert parse('{"window": 7, "label": "run"}') == Label(7, "run")
