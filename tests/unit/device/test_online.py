"""The parts of learning on a device, each by its own rule: what is kept, judged, blended, waited for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.errors import BeyondError
from acclimate_device.online.adaptation import expected_to_pay
from acclimate_device.online.alignment import Moments, Realigner, alignment
from acclimate_device.online.blend import Blend
from acclimate_device.online.learner import _losses
from acclimate_device.online.pending import Pending
from acclimate_device.online.policy import _LEAST
from acclimate_device.online.schema import Schema
from acclimate_device.online.support import Support
from acclimate_device.protocol import MANIFEST, Manifest, loads
from acclimate_device.protocol.manifest import CurvePoint
from acclimate_device.telemetry import FEWEST
from acclimate_device.testing import SimulatedFlash, tiny_bundle


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Device(tiny_bundle().get, SimulatedFlash(), clock=lambda: 0.0)._life.active.schema


def filled(schema: Schema, targets: list[int], shots: int = 3, held_back: int = 2, every: int = 4) -> Support:
    support = Support(schema, shots, held_back, every)
    for number, target in enumerate(targets):
        support.add(np.full(schema.shape, number, np.float32), target)
    return support


def numbers(examples: list) -> list[int]:
    return [int(example.x.flat[0]) for example in examples]


def test_every_fourth_of_a_class_is_held_back_and_each_part_keeps_the_newest(schema: Schema) -> None:
    support = filled(schema, [0] * 12)  # 3, 7 and 11 are held back
    assert numbers(support.judges()) == [7, 11]
    assert len(support) == 3
    assert numbers(support.in_order()) == [7, 8, 9, 10, 11]
    two = filled(schema, [0, 0, 1, 0, 1, 0])
    assert numbers(two.judges()) == [5]
    assert len(two) == 5


def test_classes_take_turns_and_the_last_batch_is_padded_with_weight_nothing(schema: Schema) -> None:
    support = filled(schema, [0, 0, 0, 1, 2], every=100)
    first, second = support.batches(3)
    assert first.w.tolist() == [1.0, 1.0, 1.0]
    assert second.w.tolist() == [1.0, 1.0, 0.0]
    order = np.concatenate([first.x, second.x])
    expected = [np.full(schema.shape, number, np.float32) for number in (0, 3, 4, 1, 2, 1)]
    np.testing.assert_array_equal(order, schema.normalize(np.stack(expected)))
    assert filled(schema, []).batches(3) == []


@pytest.mark.parametrize(("number", "left"), [(0, []), (2, [4, 5]), (9, [0, 1, 2, 3, 4, 5])])
def test_what_is_kept_of_a_reset_are_the_newest_and_they_all_support(
    schema: Schema, number: int, left: list[int]
) -> None:
    support = filled(schema, [0, 1, 0, 1, 0, 1], shots=6, every=3)
    support.keep_newest(number)
    assert numbers(support.in_order()) == left
    assert support.judges() == []
    assert len(support) == len(left)


def test_a_new_bundle_takes_the_examples_of_labels_it_knows_in_the_order_they_came(schema: Schema) -> None:
    support = filled(schema, [0, 1, 2, 1, 0, 2], shots=6, every=2)
    first, _, third = schema.output.labels
    other = Schema(replace(schema_manifest(), output=replace(schema.output, labels=(third, "wave", first))))
    moved = support.moved_to(other, 6)
    assert numbers(moved.in_order()) == [0, 2, 4, 5]
    assert [example.target for example in moved.in_order()] == [2, 0, 2, 0]
    assert numbers(moved.judges()) == [4, 5]
    narrow = replace(schema_manifest().input, shape=(3, 5), window=5)
    assert len(support.moved_to(Schema(replace(schema_manifest(), input=narrow)), 6)) == 0


def test_what_was_learnt_is_for_targets_of_the_same_kind_and_name(schema: Schema) -> None:
    named = replace(schema.output, kind="regression", labels=(), targets=("a", "b", "c"))
    of_a, of_d = (
        Schema(replace(schema_manifest(), output=replace(named, targets=targets)))
        for targets in (named.targets, ("a", "b", "d"))
    )
    classes, numbers_ = filled(schema, [0, 1, 2]), Support(of_a, 3, 2, 4)
    numbers_.add(np.zeros(schema.shape, np.float32), np.ones(3, np.float32))
    assert len(numbers_.moved_to(of_a, 3)) == 1
    assert [
        len(one.moved_to(to, 3)) for one, to in ((classes, of_a), (numbers_, schema), (numbers_, of_d))
    ] == [0] * 3


def test_what_lies_outside_of_training_is_refused_by_channel_and_value() -> None:
    given, limits = schema_manifest().input, {"low": (-9.0,) * 3, "high": (9.0,) * 3}
    x = np.random.default_rng(0).normal(size=(3, 8))
    x[1, 4] = 9.5
    for beyond in ("refuse", "clamp"):
        steps = replace(given.preprocessing, beyond=beyond, **limits)
        under_test = Schema(replace(schema_manifest(), input=replace(given, preprocessing=steps)))
        if beyond == "refuse":
            with pytest.raises(BeyondError, match=r"channel 'y' holds 9.5, far outside"):
                under_test.input(x)
        else:
            assert under_test.input(x)[1, 4] == 9.0
        assert [under_test.take_clamped(), under_test.take_clamped()] == [int(beyond == "clamp"), 0]


@pytest.mark.parametrize(
    ("examples", "loss", "told"),
    [
        (FEWEST - 1, 0.25, "held-back loss below that of the start"),
        (1, 0.5, "held-back loss not below that of the start"),
        (FEWEST, 0.256, "held-back loss 0.26, of the start 0.5"),
    ],
)
def test_losses_of_few_examples_are_not_told(examples: int, loss: float, told: str) -> None:
    assert _losses(examples, loss, "the start", 0.5) == told


def test_health_counts_what_was_mended_and_what_was_moved_away() -> None:
    flash = SimulatedFlash()
    under_test = Device(tiny_bundle().get, flash, clock=lambda: 0.0)
    assert under_test.keep("x", b"data")
    for repaired, set_aside in ((1, 1), (2, 3)):
        flash.flip("kept/x.0", 100)
        assert under_test.kept("x") == b"data"
        if repaired == 2:
            flash.write("outbox/foreign", b"x")
            under_test._life.keeping._queue.reports()
        under_test.tick()
        assert (under_test.health.repaired, under_test.health.set_aside) == (repaired, set_aside)
    assert under_test.health.ok


def schema_manifest() -> Manifest:
    return loads(Manifest, tiny_bundle()[MANIFEST], 10**6)


def test_inputs_wait_for_their_labels_and_the_oldest_make_room() -> None:
    pending = Pending(2)
    for key in "abc":
        pending.keep(key, np.array([ord(key)], np.float32))
    assert pending.get("a") is None
    assert [int(pending.get(key)[0]) for key in "bc"] == [98, 99]
    pending.forget("b")
    pending.forget("never")
    pending.keep("d", np.zeros(1, np.float32))
    assert pending.get("b") is None
    assert pending.get("c") is not None


@pytest.mark.parametrize("name", _LEAST)
def test_a_policy_takes_the_least_that_makes_sense_and_nothing_below(name: str) -> None:
    least = _LEAST[name]
    assert getattr(OnlinePolicy(**{name: least}), name) == least
    for wrong in (least - 1, float("nan")):
        with pytest.raises(ValueError, match=rf"{name} is {wrong}: use {least} or more"):
            OnlinePolicy(**{name: wrong})


@pytest.mark.parametrize(
    ("curve", "higher", "pays"),
    [
        ({0: 0.5, 5: 0.6}, True, True),
        ({0: 0.5, 5: 0.6}, False, False),
        ({0: 0.5, 5: 0.4}, False, True),
        ({0: 0.5, 5: 0.5}, True, False),
        ({0: 0.5, 5: 0.5}, False, False),
        ({0: 0.5, 4: 0.6, 5: 0.4, 50: 0.9}, True, False),  # beyond the bundle's steps nobody goes
        ({5: 0.6, 0: 0.5}, True, True),
        ({0: 0.5}, True, False),
        ({0: 0.5, 6: 0.9}, True, False),
    ],
)
def test_a_bundle_is_expected_to_pay_by_its_curve_up_to_its_own_steps(
    curve: dict[int, float], higher: bool, pays: bool
) -> None:
    manifest = schema_manifest()
    manifest = replace(manifest, adaptation=replace(manifest.adaptation, steps=5))
    assert manifest.expected is not None
    points = tuple(replace(manifest.expected.points[0], steps=at, mean=mean) for at, mean in curve.items())
    expected = replace(manifest.expected, higher_is_better=higher, points=points)
    assert isinstance(points[0], CurvePoint)
    assert expected_to_pay(replace(manifest, expected=expected)) is pays
    assert not expected_to_pay(replace(manifest, expected=None))


def test_experts_are_weighed_by_their_recent_error_to_the_power_of_minus_eight() -> None:
    blend = Blend(experts=2, models=1, leads=1, targets=1, season=1)
    now = np.zeros(1, np.float32)
    for _ in range(2000):  # so long that no doubt is left
        made = np.array([2.0, 1.0], np.float32).reshape(2, 1, 1)
        blend.score(blend.candidates(made), now)
    short = 1.0 / (1.0 - 0.5 ** (1.0 / 7.0))  # how many the fading mean counts
    doubted = (short * 1.0 + 1.1 * 2.0) / (short + 1.0)
    weights = np.array([2.0, doubted]) ** -8.0
    first, second = 10.0, 20.0
    found = blend.candidates(np.array([first, second], np.float32).reshape(2, 1, 1))[:, 0, 0]
    assert found[:3].tolist() == [first, second, first]  # the bundle's alone is the first
    assert found[3] == pytest.approx((weights * [first, second]).sum() / weights.sum(), rel=1e-4)
    assert blend.chosen().tolist() == [[1]]
    lost = blend.candidates(np.array([first, np.nan], np.float32).reshape(2, 1, 1))
    assert lost[3, 0, 0] == first  # who says nothing has no weight
    assert blend.answer(lost).item() == first  # nor does it answer


def test_a_blend_goes_on_from_its_state_and_from_no_other() -> None:
    blend, again = Blend(2, 1, 1, 1, season=3), Blend(2, 1, 1, 1, season=3)
    blend.score(np.array([3.0, 1.0, 2.0, 2.0], np.float32).reshape(4, 1, 1), np.zeros(1, np.float32))
    again.restore(blend.state())
    assert all((one == again.state()[name]).all() for name, one in blend.state().items())
    assert blend.state()["short.sum"].ravel().tolist() == [3.0, 1.0, 2.0, 2.0]
    assert blend.state()["long.count"].ravel().tolist() == [1.0] * 4
    with pytest.raises(ValueError, match="another shape"):
        Blend(3, 1, 1, 1, season=3).restore(blend.state())
    with pytest.raises(ValueError, match="numbers that are none"):
        again.restore(blend.state() | {"long.sum": np.full((4, 1, 1), np.nan)})


def test_what_was_not_measured_or_forecast_teaches_nothing() -> None:
    blend = Blend(2, 1, 1, 1, season=3)
    blend.score(np.array([3.0, np.nan, 2.0, 2.0], np.float32).reshape(4, 1, 1), np.zeros(1, np.float32))
    assert blend.state()["short.count"].ravel().tolist() == [1.0, 0.0, 1.0, 1.0]
    blend.score(np.ones((4, 1, 1), np.float32), np.full(1, np.nan, np.float32))
    assert blend.state()["short.count"].ravel().tolist() == [1.0, 0.0, 1.0, 1.0]
    blend.score(np.ones((4, 1, 1), np.float32), np.zeros(1, np.float32))
    keep = 0.5 ** (1.0 / 21.0)  # half in seven seasons
    assert blend.state()["short.sum"].ravel()[0] == pytest.approx(3.0 * keep + 1.0)
    assert blend.state()["long.sum"].ravel()[0] == pytest.approx(3.0 * keep**0.25 + 1.0)


def test_the_map_of_a_shift_is_shrunk_as_if_four_inputs_had_shown_none() -> None:
    before, after = Moments(64, (1.0,), (2.0,)), Moments(12, (5.0,), (8.0,))
    made = alignment(before, after, ["x"])
    weight = 12 / 16
    assert made.gain[0] == pytest.approx(0.25**weight)
    wanted = weight * 1.0 + (1 - weight) * 5.0  # what the mean of the new inputs becomes
    assert made.gain[0] * 5.0 + made.offset[0] == pytest.approx(wanted)
    still = alignment(Moments(64, (1.0,), (0.0,)), Moments(12, (5.0,), (0.0,)), ["x"])
    assert still.gain == (1.0,)
    assert 5.0 + still.offset[0] == pytest.approx(wanted)


def test_a_first_map_comes_after_sixteen_inputs_and_a_better_one_at_each_doubling() -> None:
    with pytest.raises(ValueError, match="realign_window is 15: use at least 16"):
        Realigner(["x"], 15)
    rng, realigner = np.random.default_rng(0), Realigner(["x"], 64)
    inputs = rng.normal(0.0, 1.0, (64, 1, 4)).astype(np.float32)
    for number, one in enumerate(inputs):
        assert realigner.before is None, number
        realigner.update(one)
    assert realigner.before == Moments(
        64, (pytest.approx(inputs.mean(), abs=1e-6),), (pytest.approx(inputs.std(), abs=1e-6),)
    )
    realigner.update(inputs[0] + 100.0)  # gathered no more
    realigner.shifted()
    came = []
    for number in range(200):
        realigner.update(3.0 * inputs[number % 64] + 7.0)
        if realigner.due() is not None:
            came.append(number + 1)
    assert came == [16, 32, 64]
    realigner.shifted()
    realigner.update(np.zeros((2, 4), np.float32))  # of another version: it has other channels
    realigner.settle()
    for one in inputs:
        realigner.update(one)
    assert realigner.due() is None  # labels have decided
