"""The device as an application meets it, on a real bundle."""

import math
import re
import threading
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.drift import DDM, PageHinkley
from acclimate_device.errors import InputError, LabelError
from acclimate_device.online.adaptation import adapt, take_steps
from acclimate_device.online.support import Support
from acclimate_device.protocol import ReportBatch, dumps
from acclimate_device.storage import Slots, Store
from acclimate_device.telemetry import FEWEST
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


BOTH_KINDS = pytest.mark.parametrize("kind", ["gradient", "closed-form"], indirect=True)


@pytest.fixture(autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the bundle under test adapts."""
    of = getattr(request, "param", "gradient")
    monkeypatch.setitem(globals(), "tiny_bundle", partial(tiny_bundle, of))
    return of


def device(flash: SimulatedFlash | None = None, clock: Clock | None = None, **options: object) -> Device:
    return Device(tiny_bundle().get, flash or SimulatedFlash(), clock=clock or Clock(), **options)


def accuracy(under_test: Device, stream: GestureDevice, number: int = 60) -> float:
    return sum(under_test.predict_one(x) == y for x, y in stream.examples(number)) / number


def learn(under_test: Device, stream: GestureDevice, number: int) -> None:
    for x, y in stream.examples(number):
        under_test.learn_one(x, y)


class Renamed:
    """The same gestures under other names: nothing learnt before holds."""

    def __init__(self, stream: GestureDevice) -> None:
        self.stream = stream

    def examples(self, number: int):
        names = {"circle": "shake", "shake": "tap", "tap": "circle"}
        return ((x, names[y]) for x, y in self.stream.examples(number))


def report_of(under_test: Device):
    under_test.close()
    return under_test._life.keeping._queue.reports()[-1]


@BOTH_KINDS
def test_a_device_learns_its_own_gestures(kind: str) -> None:
    better = 0.0
    for seed in range(5):
        stream, learner = GestureDevice(seed), device()
        before = accuracy(learner, stream)
        learn(learner, stream, 24)
        assert learner.adapted
        better += accuracy(learner, stream) - before
    assert better / 5 > (0.15 if kind == "gradient" else 0.1)


@BOTH_KINDS
def test_what_is_told_of_a_window_adds_up() -> None:
    stream, learner = GestureDevice(1), device()
    accuracy(learner, stream, 30)
    learn(learner, stream, 40)
    with pytest.raises(InputError):
        learner.predict_one([[math.nan] * 8] * 3)
    report = report_of(learner)
    assert report.predictions == 30 == report.predict_us.count
    told = report.start_loss.count, report.adapted_loss.count
    assert 40 - FEWEST < sum(told) <= 40, "fewer than that many do not leave"
    assert not any(0 < count < FEWEST for count in told)
    assert report.adaptations + report.kept_starts == report.adapt_us.count >= 4
    assert report.refusals == {"InputError": 1}
    assert report.resources.rss_bytes > 10**7
    assert report.events[0].kind == "adapted"


BAD_INPUTS = {
    "shape": (np.ones((3, 7)), "shape"),
    "nan": ([[0.0, 1.0, math.nan, 0, 0, 0, 0, 0]] * 3, r"nan at \(0, 2\)"),
    "infinity": ([[0.0, 1.0, math.inf, 0, 0, 0, 0, 0]] * 3, "inf at"),
    "huge": ([[0.0, 1.0, 1e30, 0, 0, 0, 0, 0]] * 3, "e\\+30 at"),
    "constant": (np.ones((3, 8)), "no channel of the input varies"),
    "text": ("shake", "is not numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], "is not numbers"),
    "mapping": ({"x": [0.0] * 8}, "no channel 'y'"),
}


@pytest.mark.parametrize(("x", "says"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_a_bad_input_is_refused_and_changes_nothing(x: object, says: str) -> None:
    stream, learner = GestureDevice(2), device()
    learn(learner, stream, 10)
    before = (
        learner._life.active,
        list(learner._life.learner._support.judges()),
        len(learner._life.learner._support),
    )
    calls = (learner.predict_one, lambda x: learner.learn_one(x, "tap"), lambda x: learner.predict_many([x]))
    for call in calls:
        with pytest.raises(InputError, match=says):
            call(x)
    with pytest.raises(InputError):
        learner.learn_many([stream.example()[0], x], ["tap", "tap"])
    assert (
        learner._life.active,
        learner._life.learner._support.judges(),
        len(learner._life.learner._support),
    ) == before
    assert report_of(learner).refusals == {"InputError": 4}


@pytest.mark.parametrize("y", ["wave", "", None, 7])
def test_a_label_the_bundle_does_not_know_is_refused(y: object) -> None:
    learner = device()
    with pytest.raises(LabelError, match="use one of circle, shake, tap"):
        learner.learn_one(GestureDevice(2).example()[0], y)
    assert len(learner._life.learner._support) == 0 if learner._life.learner._support else True


@BOTH_KINDS
@pytest.mark.parametrize("learnt", [0, 40])
def test_many_predicted_together_are_what_they_are_one_by_one(learnt: int) -> None:
    stream, together, alone = GestureDevice(3), device(), device()
    for x, y in stream.examples(learnt):
        together.learn_one(x, y)
        alone.learn_one(x, y)
    inputs = [x for x, _ in stream.examples(300)]
    assert together.predict_many(inputs) == [alone.predict_one(x) for x in inputs]
    assert together.predict_many([]) == []
    one, other = report_of(together), report_of(alone)
    assert one.predictions == other.predictions == 300
    assert one.input_shift == other.input_shift


def test_many_predicted_by_parameters_that_give_nan_are_predicted_by_the_start() -> None:
    stream, learner = GestureDevice(11), device()
    learn(learner, stream, 24)
    active = learner._life.active
    broken = {name: value * np.float32(np.nan) for name, value in active.params.items()}
    learner._life.active = replace(active, params=broken)
    assert set(learner.predict_many([x for x, _ in stream.examples(20)])) <= {"circle", "shake", "tap"}
    assert not learner.adapted


def test_after_a_drift_a_device_adapts_four_times_as_often_for_a_while() -> None:
    """As long as `hurry` says, in labelled examples."""
    counts = []
    for every, hurry in ((16, 0), (16, 32), (2, 6)):
        policy = OnlinePolicy(every=every, hurry=hurry, on_warning="report", on_drift="adapt")
        stream, learner = GestureDevice(10), device(policy=policy)
        learn(learner, stream, 32)
        learner._life.learner._detector = Scripted([1])
        adapted = []
        for at, (x, y) in enumerate(stream.examples(64)):
            before = learner._life.recorder.steps
            learner.learn_one(x, y)
            if learner._life.recorder.steps > before:
                adapted.append(at)
        counts.append(adapted)
    assert counts[0] == [1, 17, 33, 49]
    assert counts[1] == [1, 5, 9, 13, 17, 21, 25, 29, 45, 61]
    assert counts[2][:8] == [1, 2, 3, 4, 5, 6, 8, 10]  # no more often than at each label


class Scripted:
    """A detector that finds drift at given updates."""

    def __init__(self, at: list[int]) -> None:
        self.at, self.count = at, 0
        self.drift_detected = self.warning_detected = False

    def update(self, x: float) -> None:
        self.drift_detected = self.count in self.at
        self.count += 1

    def reset(self) -> None: ...


def test_labels_may_come_late_or_never() -> None:
    stream, learner = GestureDevice(3), device(policy=OnlinePolicy(pending=20))
    asked = [stream.example() for _ in range(30)]
    for number, (x, _) in enumerate(asked):
        learner.predict_one(x, key=number)
    learnt = [learner.learn_late(number, y) for number, (_, y) in enumerate(asked)]
    assert learnt == [False] * 10 + [True] * 20
    assert not learner.learn_late(29, "tap"), "each label counts once"
    assert learner.adapted


def test_a_shift_of_the_inputs_is_noticed_without_any_label() -> None:
    stream, clock = GestureDevice(4), Clock()
    learner = device(clock=clock)
    for x, _ in stream.examples(600):
        learner.predict_one(x)
    learner.tick()
    assert learner._life.recorder.drifts == 0
    stream._gain *= -1.5
    for x, _ in stream.examples(400):
        learner.predict_one(x)
    learner.tick()
    report = report_of(learner)
    assert report.drifts == 1
    assert [(event.kind, event.source) for event in report.events if event.kind == "drift"] == [
        ("drift", "InputShift")
    ]


@pytest.mark.parametrize("detector", [None, PageHinkley(threshold=3, mode="up"), DDM()])
def test_drift_resets_and_adapts_again_whatever_the_detector(detector: object) -> None:
    stream, learner = GestureDevice(10), device(detector=detector)
    learn(learner, stream, 200)
    assert accuracy(learner, stream) > 0.9
    assert accuracy(learner, Renamed(stream)) < 0.1
    learn(learner, Renamed(stream), 120)
    assert accuracy(learner, Renamed(stream)) > 0.9
    report = report_of(learner)
    assert report.drifts >= 1
    assert "reset" in {event.kind for event in report.events}


def test_a_device_that_only_reports_keeps_what_it_learnt() -> None:
    policy = OnlinePolicy(on_drift="report", on_warning="report")
    stream, learner = GestureDevice(10), device(policy=policy)
    learn(learner, stream, 200)
    learn(learner, Renamed(stream), 60)
    report = report_of(learner)
    assert report.drifts >= 1
    assert report.resets == 0


def test_adaptation_that_does_not_pay_is_not_used() -> None:
    """Support under wrong names, held-back examples under the right ones: the start is the better choice."""
    active, stream = device()._life.active, GestureDevice(5)
    schema = active.schema
    wrong, right = Support(schema, 4, 8, 10**6), Support(schema, 4, 8, 1)
    for x, y in stream.examples(30):
        right.add(schema.input(x), schema.target(y))
    for x, y in Renamed(stream).examples(30):
        wrong.add(schema.input(x), schema.target(y))
    engine, batches, judges = active.running.engine, wrong.batches(12), right.judges()
    kept = adapt(engine, schema, batches, judges, None, judge_from=4)
    assert (kept.adapted, kept.judged, kept.loss) == (False, True, kept.start_loss)
    assert kept.params is engine.start
    hurt = take_steps(engine, engine.start, batches)
    assert adapt(engine, schema, batches, judges, hurt, judge_from=4).params is engine.start
    unjudged = adapt(engine, schema, batches, [], None, judge_from=4)
    assert unjudged.adapted, "the bundle's curve says that adapting pays"
    assert (unjudged.judged, unjudged.start_loss, unjudged.loss) == (False, 0.0, 0.0)


@BOTH_KINDS
def test_reset_returns_to_the_initialization() -> None:
    stream, learner, fresh = GestureDevice(6), device(), device()
    learn(learner, stream, 30)
    learner.reset()
    assert not learner.adapted
    probe = [x for x, _ in stream.examples(20)]
    assert [learner.predict_proba_one(x) for x in probe] == [fresh.predict_proba_one(x) for x in probe]


@BOTH_KINDS
def test_adapted_state_survives_a_restart_and_not_a_reset() -> None:
    stream, flash, clock = GestureDevice(7), SimulatedFlash(), Clock()
    learner = device(flash, clock)
    learn(learner, stream, 30)
    learner.close()
    probe = stream.example()[0]
    again = device(flash, clock)
    assert again.adapted
    assert again.predict_proba_one(probe) == learner.predict_proba_one(probe)
    again.reset()
    assert not device(flash, clock).adapted


@BOTH_KINDS
def test_damaged_state_is_dropped_and_told() -> None:
    stream, flash = GestureDevice(7), SimulatedFlash()
    learner = device(flash)
    learn(learner, stream, 30)
    learner.close()
    for name in flash.names("adapted"):
        flash.flip(name, 1000)
    again = device(flash)
    assert not again.adapted
    again.predict_one(stream.example()[0])
    told = {(event.kind, event.source) for event in report_of(again).events}
    assert told == {("set_aside", "adapted.0"), ("set_aside", "adapted.1")}


@BOTH_KINDS
def test_state_is_written_once_a_minute_at_most() -> None:
    stream, flash, clock = GestureDevice(8), SimulatedFlash(), Clock()
    learner = device(flash, clock)
    flash.write = Mock(wraps=flash.write)
    for _ in range(600):  # ten minutes, a label a second
        learner.learn_one(*stream.example())
        clock.now += 1.0
        learner.tick()
    writes = [call.args[0] for call in flash.write.call_args_list]
    assert 9 <= sum(name.startswith("adapted.0") for name in writes) <= 10
    assert sum(name.startswith("outbox") and ".0" in name for name in writes) <= 10


@BOTH_KINDS
def test_a_prediction_never_waits_and_never_sees_half_a_version() -> None:
    """While another thread swaps between two sets of parameters, every output is of one of them, whole."""
    learner, stream = device(), GestureDevice(9)
    probe = np.asarray(stream.example()[0], np.float32)
    start = learner._life.active
    learn(learner, stream, 24)
    adapted = learner._life.active
    whole = {tuple(one.outputs(one.schema.normalize(probe)[None])[0].tolist()) for one in (start, adapted)}
    assert len(whole) == 2
    stop, seen = threading.Event(), set()

    def predict() -> None:
        while not (stop.is_set() and seen):
            _, outputs = learner._predictor._outputs(probe, None)
            seen.add(tuple(outputs.tolist()))

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    with learner._life.lock:  # held throughout, as by an adaptation that takes long
        for _ in range(2000):
            learner._life.active = start
            learner._life.active = adapted
        waited = threading.Event()
        waited.wait(0.05)
        stop.set()
        for thread in threads:
            thread.join(timeout=5)
            assert not thread.is_alive(), "a prediction waited for the lock"
    assert seen
    assert seen <= whole


@BOTH_KINDS
def test_adapted_parameters_that_give_nan_are_left_for_the_start() -> None:
    stream, learner = GestureDevice(11), device()
    learn(learner, stream, 24)
    active = learner._life.active
    broken = {name: value * np.float32(np.nan) for name, value in active.params.items()}
    learner._life.active = replace(active, params=broken)
    assert learner.predict_one(stream.example()[0]) in ("circle", "shake", "tap")
    assert not learner.adapted
    report = report_of(learner)
    assert report.fallbacks == 1


@BOTH_KINDS
def test_nothing_of_an_example_is_on_the_wire() -> None:
    """No number and no label that went in is in what would be sent."""
    learner, rng = device(), np.random.default_rng(1)
    windows = rng.uniform(0.1, 0.9, (40, 3, 8)).astype(np.float32)
    for number, window in enumerate(windows):
        learner.predict_one(window)
        learner.learn_one(window, ("circle", "shake", "tap")[number % 3])
    sent = dumps(ReportBatch((report_of(learner),))).decode()
    assert not [label for label in ("circle", "shake", "tap") if label in sent]
    numbers = np.array([float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", sent)])
    assert len(numbers) > 50
    assert np.abs(numbers[:, None] - windows.ravel()[None]).min() > 1e-7


def test_the_agent_and_the_device_meet_on_flash_only() -> None:
    flash = SimulatedFlash()
    assert Slots(Store(flash)).assignment() is None
    device(flash).tick()
    assert Slots(Store(flash)).boot().counter == 0


def test_a_policy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="hold_back is 0: use 1 or more"):
        OnlinePolicy(hold_back=0)
