"""A sensor that drifts: the device maps its inputs back without a label; labels have the last word."""

from collections.abc import Iterator

import numpy as np
import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.drift import InputShift
from acclimate_device.errors import AlignmentError
from acclimate_device.online.alignment import Alignment, Moments, alignment
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

REALIGN = OnlinePolicy(on_input_shift="realign")
CHANNELS = ("x", "y", "z")


class Drifted:
    """The same gestures through a sensor whose gain and offset moved, by channel."""

    def __init__(self, stream: GestureDevice, gain=(2.2, 0.35, 1.8), offset=(6.0, -5.0, 4.0)) -> None:
        self.stream = stream
        self.gain, self.offset = np.array(gain)[:, None], np.array(offset)[:, None]

    def examples(self, number: int) -> Iterator[tuple[np.ndarray, str]]:
        return ((np.asarray(x) * self.gain + self.offset, y) for x, y in self.stream.examples(number))


def device(flash: SimulatedFlash | None = None, policy: OnlinePolicy = REALIGN, **options) -> Device:
    return Device(tiny_bundle().get, flash or SimulatedFlash(), policy, clock=lambda: 0.0, **options)


def accuracy(under_test: Device, stream, number: int = 100) -> float:
    return sum(under_test.predict_one(x) == y for x, y in stream.examples(number)) / number


def watch(under_test: Device, stream, number: int) -> None:
    for at, (x, _) in enumerate(stream.examples(number)):
        under_test.predict_one(x)
        if at % 10 == 9:
            under_test.tick()


def learn(under_test: Device, stream, number: int) -> None:
    for x, y in stream.examples(number):
        under_test.learn_one(x, y)


def acclimated(
    seed: int, flash: SimulatedFlash | None = None, policy: OnlinePolicy = REALIGN, **options: object
):
    """A device that knows its gestures and has seen enough inputs to know how they are."""
    stream, under_test = GestureDevice(seed), device(flash, policy, **options)
    learn(under_test, stream, 24)
    watch(under_test, stream, 500)
    return under_test, stream


def events(under_test: Device) -> list[tuple[str, str]]:
    under_test.close()
    return [
        (one.kind, one.source)
        for report in under_test._life.keeping._queue.reports()
        for one in report.events
    ]


def test_accuracy_recovers_from_a_drifted_sensor_without_a_single_label() -> None:
    found = []
    for seed in (1, 2, 4, 5):  # 0 and 3 learnt features that this drift leaves alone
        under_test, stream = acclimated(seed)
        before, lost = accuracy(under_test, stream), accuracy(under_test, Drifted(stream), 20)
        watch(under_test, Drifted(stream), 480)
        found.append((before, lost, accuracy(under_test, Drifted(stream))))
        assert ("realigned", "inputs") in events(under_test)
    before, lost, after = np.mean(found, axis=0)
    assert lost < before - 0.2
    assert after > before - 0.1


def test_labels_confirm_an_alignment_that_pays_and_it_stays() -> None:
    under_test, stream = acclimated(1)
    watch(under_test, Drifted(stream), 480)
    learn(under_test, Drifted(stream), 40)
    assert under_test._life.active.alignment is not None
    assert under_test._life.active.alignment.judged
    assert accuracy(under_test, Drifted(stream)) > 0.9
    assert ("realigned", "held-back examples") in events(under_test)


def test_an_alignment_that_hurts_is_undone_when_labels_come() -> None:
    """Only one gesture is made for a while: the inputs shift, but the sensor is as it was."""
    flash = SimulatedFlash()
    touchy = InputShift(deviations=3.0, peaks=0.8)
    under_test, stream = acclimated(3, flash, input_shift=touchy)
    for at in range(480):
        under_test.predict_one(stream.example("tap")[0])
        if at % 10 == 9:
            under_test.tick()
    assert under_test._life.active.alignment is not None
    hurt = accuracy(under_test, stream)
    learn(under_test, stream, REALIGN.judge_from)
    assert under_test._life.active.alignment is None
    assert accuracy(under_test, stream) > hurt
    assert ("unaligned", "held-back examples") in events(under_test)
    assert device(flash)._life.active.alignment is None, "nor does a restart bring it back"


def test_a_rejected_alignment_is_not_read_back_after_a_power_cut() -> None:
    """It was saved while it was in use, and nothing was saved after labels rejected it."""
    flash, touchy = SimulatedFlash(), InputShift(deviations=3.0, peaks=0.8)
    under_test, stream = acclimated(3, flash, input_shift=touchy)
    for at in range(480):
        under_test.predict_one(stream.example("tap")[0])
        if at % 10 == 9:
            under_test.tick()
    assert under_test._life.active.alignment is not None
    under_test._life._save()
    assert device(flash.after_power_cut())._life.active.alignment is not None
    learn(under_test, stream, REALIGN.judge_from)
    assert device(flash.after_power_cut())._life.active.alignment is None


def test_an_alignment_survives_a_restart_and_not_a_reset() -> None:
    flash = SimulatedFlash()
    under_test, stream = acclimated(3, flash)
    watch(under_test, Drifted(stream), 480)
    under_test.close()
    again, probe = device(flash), next(Drifted(stream).examples(1))[0]
    assert again._life.active.alignment == under_test._life.active.alignment is not None
    assert again.predict_proba_one(probe) == under_test.predict_proba_one(probe)
    again.reset()
    assert again._life.active.alignment is None
    assert device(flash)._life.active.alignment is None


def test_a_version_swap_keeps_the_alignment_of_the_sensor() -> None:
    under_test, stream = acclimated(0)
    watch(under_test, Drifted(stream), 480)
    aligned = under_test._life.active.alignment
    under_test._life._switch(under_test._life.active.running)
    assert under_test._life.active.alignment == aligned is not None
    assert accuracy(under_test, Drifted(stream)) > 0.8


def test_a_device_that_only_reports_takes_inputs_as_they_come() -> None:
    under_test, stream = acclimated(1, policy=OnlinePolicy())
    watch(under_test, Drifted(stream), 480)
    assert under_test._life.active.alignment is None
    assert ("drift", "InputShift") in events(under_test)


def test_a_channel_that_died_is_refused_and_told() -> None:
    under_test, stream = acclimated(1)
    watch(under_test, Drifted(stream, gain=(1.0, 0.0, 1.0), offset=(0.0, 9.0, 0.0)), 480)
    assert under_test._life.active.alignment is None
    under_test.close()
    (report,) = under_test._life.keeping._queue.reports()
    assert report.refusals == {"AlignmentError": 1}
    (refusal,) = [event for event in report.events if event.kind == "refused"]
    assert "channel 'y'" in refusal.detail


def test_few_inputs_move_the_normalization_less_than_many() -> None:
    old = Moments(64, (0.0, 1.0, 0.0), (1.0, 2.0, 0.0))
    few, many = (
        alignment(old, Moments(inputs, (3.0, 1.0, 5.0), (2.0, 2.0, 0.0)), CHANNELS) for inputs in (4, 4000)
    )
    assert few.gain == pytest.approx((0.5**0.5, 1.0, 1.0))
    assert many.gain == pytest.approx((0.5, 1.0, 1.0), rel=1e-2)
    assert many.offset == pytest.approx((-1.5, 0.0, -5.0), abs=0.02)
    x = np.array([[3.0], [1.0], [5.0]], np.float32)
    assert few.apply(x).ravel() == pytest.approx([1.5, 1.0, 2.5]), "half the way: 4 inputs, prior 4"


@pytest.mark.parametrize(("old", "new"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1e-5)])
def test_a_channel_that_stands_still_on_one_side_cannot_be_aligned(old: float, new: float) -> None:
    before, after = (Moments(64, (0.5,), (spread,)) for spread in (old, new))
    with pytest.raises(AlignmentError, match="channel 'x' varied by"):
        alignment(before, after, ("x",))


def test_the_identity_changes_nothing() -> None:
    same = Moments(64, (0.5,), (1.0,))
    assert alignment(same, same, ("x",)) == Alignment((1.0,), (0.0,))
