"""What a bundle's inputs and outputs mean: losses, answers and features, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import InputError, LabelError
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import MANIFEST, Input, Output, Preprocessing
from acclimate_device.testing import tiny_bundle

TINY = parse_manifest(tiny_bundle()[MANIFEST])


def schema(output: Output = TINY.output, given: Input = TINY.input, loss: str = "mse") -> Schema:
    adaptation = replace(TINY.adaptation, loss=loss if output.kind != "classification" else "cross_entropy")
    return Schema(replace(TINY, input=given, output=output, adaptation=adaptation, expected=None))


def numbers(*targets: str, kind: str = "regression", **more) -> Output:
    leads = more.get("leads", (1,))
    return Output(kind, len(leads) * len(targets), targets=targets, **more)


@pytest.mark.parametrize(
    ("loss", "each"), [("mse", (0.25, 9.0)), ("huber", (0.125, 2.5)), ("mae", (0.5, 3.0))]
)
def test_the_loss_of_an_example_is_the_mean_over_its_outputs(loss: str, each: tuple[float, float]) -> None:
    under_test = schema(numbers("a", "b"), loss=loss)
    outputs, targets = np.array([[0.5, -3.0], [1.0, 1.0]], np.float32), np.array([[0.0, 0.0], [1.0, 1.0]])
    assert under_test.losses(outputs, targets).tolist() == [pytest.approx(sum(each) / 2), 0.0]
    assert under_test.bounded(3.0) == 0.75


def test_the_loss_of_a_class_is_the_surprise_at_it_and_bounded_the_probability_that_was_missing() -> None:
    under_test = schema()
    outputs = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 7.0
    losses = under_test.losses(outputs, np.array([1, 2]))
    assert np.exp(-losses).tolist() == pytest.approx([0.25, 0.8], rel=1e-5)
    assert [under_test.bounded(loss) for loss in losses] == pytest.approx([0.75, 0.2], rel=1e-5)
    assert under_test.probabilities(outputs[0]) == pytest.approx({"circle": 0.5, "shake": 0.25, "tap": 0.25})
    assert under_test.prediction(outputs[1]) == "tap"


@pytest.mark.parametrize(
    ("output", "outputs", "answer"),
    [
        (numbers("a", mean=(3.0,), scale=(2.0,)), [1.0], 5.0),
        (numbers("a", "b", mean=(1.0, 10.0), scale=(2.0, 5.0)), [1.0, 2.0], [3.0, 20.0]),
        (
            numbers("a", kind="forecasting", horizon=4, leads=(1, 4), mean=(1.0,), scale=(2.0,)),
            [1.0, 2.0],
            [3.0, 5.0],
        ),
        (
            numbers(
                "a", "b", kind="forecasting", horizon=4, leads=(1, 4), mean=(1.0, 10.0), scale=(2.0, 5.0)
            ),
            [1.0, 2.0, 3.0, 4.0],
            [[3.0, 20.0], [7.0, 30.0]],
        ),
        (numbers("a"), [1.5], 1.5),
    ],
)
def test_an_answer_has_the_units_of_the_recordings_and_the_shape_of_what_was_asked(
    output: Output, outputs: list[float], answer: object
) -> None:
    under_test = schema(output)
    found = under_test.prediction(np.array(outputs, np.float32))
    assert (found if isinstance(found, float) else found.tolist()) == answer
    back = under_test.normalize_targets([under_test.target(answer)])
    assert back.dtype == np.dtype(np.float32)
    assert back.tolist() == [outputs]


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 2.0, 3.0], [1.0, math.nan], [1.0, math.inf], "high", None])
def test_targets_are_finite_and_one_for_each(wrong: object) -> None:
    with pytest.raises(LabelError, match=r"2 (finite )?numbers"):
        schema(numbers("a", "b")).target(wrong)


def test_features_are_the_level_and_the_log_spread_of_each_channel() -> None:
    x = np.array([[1.0, 3.0] * 4, [5.0] * 8, [-2.0, 0.0] * 4], np.float32)
    assert schema().features(x) == pytest.approx([2.0, 5.0, -1.0, *np.log([1.001, 0.001, 1.001])], abs=1e-5)


def test_neighbours_of_many_channels_share_sixteen_features() -> None:
    names = tuple(f"c{number}" for number in range(20))
    given = Input(shape=(20, 2), channels=names, window=2)
    x = np.repeat(np.arange(20.0)[:, None], 2, 1).astype(np.float32)
    found = schema(given=given).features(x)
    shared = [[one for one in range(20) if one * 16 // 20 == group] for group in range(16)]
    assert max(map(len, shared)) == 2
    assert found == pytest.approx(
        [float(np.mean(group)) for group in shared] + [math.log(1e-3)] * 16, abs=1e-5
    )
    rows = Input(shape=(3,), channels=("x", "y", "z"))
    assert schema(given=rows).features(np.array([1.0, 2.0, 4.0], np.float32)) == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("missing", ["hold", "season", "error"])
def test_a_gap_of_a_single_row_takes_the_value_of_the_row_before_where_gaps_are_held(missing: str) -> None:
    rows = Input(shape=(3,), channels=("x", "y", "z"), preprocessing=Preprocessing(missing=missing))
    under_test = schema(given=rows)
    with pytest.raises(InputError, match=r"nan at \(0,\)"):
        under_test.input([math.nan, 1.0, 2.0])
    assert under_test.input([5.0, 1.0, 2.0]).tolist() == [5.0, 1.0, 2.0]
    gap = [math.nan, 3.0, math.nan]
    if missing == "error":
        with pytest.raises(InputError, match=r"nan at \(0,\)"):
            under_test.input(gap)
    else:
        assert under_test.input(gap).tolist() == [5.0, 3.0, 2.0]
        assert under_test.input([math.nan, math.nan, 9.0]).tolist() == [5.0, 3.0, 9.0]


def test_where_an_input_holds_no_number_is_told() -> None:
    x = np.random.default_rng(0).normal(size=(3, 8))
    for value in (1e15, -1e15, math.inf):
        x[2, 5] = value
        with pytest.raises(InputError, match=r"at \(2, 5\): repair or skip"):
            schema().input(x)
    x[2, 5] = 9.9e14
    assert schema().input(x)[2, 5] == np.float32(9.9e14)


@pytest.mark.parametrize("output", [TINY.output, numbers("a")])
def test_a_window_in_which_nothing_varies_is_refused_but_for_forecasts(output: Output) -> None:
    still = np.full(TINY.input.shape, 0.5, np.float32)
    with pytest.raises(InputError, match="no channel of the input varies"):
        schema(output).input(still)
    forecast = numbers("a", kind="forecasting", horizon=4, leads=(4,))
    assert schema(forecast).input(still).shape == still.shape
