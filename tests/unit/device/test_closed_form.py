"""Heads in closed form on a device: experts, drift, new versions, damage, and what float32 makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acclimate_device import Device
from acclimate_device.bundle import Bundle, read_bundle
from acclimate_device.errors import BundleError, LabelError, ProtocolError
from acclimate_device.protocol import FILES, MANIFEST, SANITY, DesiredState, File, dumps, read, write
from acclimate_device.runtime import ClosedFormEngine, experts, load_engine, row_error
from acclimate_device.runtime.tensors import parse, serialize
from acclimate_device.storage import Assignment, Slots, Store
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

LABELS = ("circle", "shake", "tap")


def engine() -> ClosedFormEngine:
    made = load_engine(read_bundle(tiny_bundle("closed-form").get))
    assert isinstance(made, ClosedFormEngine)
    return made


def device(flash: SimulatedFlash | None = None, **options: object) -> Device:
    return Device(tiny_bundle("closed-form").get, flash or SimulatedFlash(), clock=lambda: 1e6, **options)


def shares(of: Device) -> dict[str, float]:
    running = of._life.active.running.engine
    assert isinstance(running, ClosedFormEngine)
    return running.shares(of._life.active.params)


def normalized(of: Device, x: object) -> np.ndarray:
    return of._life.active.schema.normalize(of._life.active.schema.input(x))[None]


def test_each_label_is_learnt_at_once() -> None:
    stream, learner = GestureDevice(1), device()
    before = learner._life.active.params
    learner.learn_one(*stream.example())
    assert learner.adapted
    after = learner._life.active.params
    assert {name for name in after if after[name] is not before[name]} <= set(
        learner._life.active.running.engine.moving
    )
    assert not np.array_equal(after["state.last.mean"], before["state.last.mean"])


def test_a_device_is_never_for_long_worse_than_its_start() -> None:
    """A hundred labels by chance ruin what was learnt; the start, which no label moves, takes over."""
    stream, learner, fresh = GestureDevice(2), device(), device()
    rng = np.random.default_rng(0)
    for x, _ in stream.examples(100):
        learner.learn_one(x, LABELS[rng.integers(3)])
    probe = list(stream.examples(40))
    with_labels = [learner.predict_proba_one(x)[y] for x, y in probe]
    at_start = [fresh.predict_proba_one(x)[y] for x, y in probe]
    assert np.mean(np.log(with_labels)) > np.mean(np.log(np.maximum(at_start, 1e-3))) - 0.7
    for x, y in stream.examples(30):
        learner.learn_one(x, y)
    assert np.mean([learner.predict_one(x) == y for x, y in probe]) > 0.9


class AfterSixty:
    """Finds drift at the sixtieth loss, whatever it is."""

    seen = 0
    warning_detected = False

    @property
    def drift_detected(self) -> bool:
        return self.seen == 60

    def update(self, x: float) -> None:
        self.seen += 1

    def reset(self) -> None:
        self.seen = 61


def test_drift_reopens_what_is_known() -> None:
    stream, learner = GestureDevice(3), device(detector=AfterSixty())
    start = learner._life.active.running.engine.start
    traces = []
    for x, y in stream.examples(60):
        learner.learn_one(x, y)
        traces.append(float(learner._life.active.params["state.last.cov"].trace()))
    assert traces[-2] < 0.8 * traces[0]
    np.testing.assert_array_equal(learner._life.active.params["state.last.cov"], start["state.last.cov"])
    assert np.mean([learner.predict_one(x) == y for x, y in stream.examples(40)]) > 0.9, "and keeps it"
    other = {"circle": "shake", "shake": "tap", "tap": "circle"}
    for x, y in stream.examples(60):
        learner.learn_one(x, other[y])
    assert np.mean([learner.predict_one(x) == other[y] for x, y in stream.examples(40)]) > 0.9


def next_version(learner: Device, flash: SimulatedFlash) -> None:
    """Give the device the bundle it has as version 2."""
    files = tiny_bundle("closed-form")
    manifest = read_bundle(files.get).manifest
    release = replace(manifest.release, version=2, content_hash="2" * 64)
    slots = Slots(Store(flash))
    slots.stage("a", {**files, MANIFEST: dumps(replace(manifest, release=release))})
    slots.save_assignment(Assignment(DesiredState("d", "f", 1, "run", release), "a"))
    learner.tick()
    assert learner.release.version == 2


def test_a_new_version_is_taught_what_the_support_holds() -> None:
    stream, flash = GestureDevice(5), SimulatedFlash()
    learner = device(flash)
    for x, y in stream.examples(40):
        learner.learn_one(x, y)
    next_version(learner, flash)
    assert learner.adapted
    assert np.mean([learner.predict_one(x) == y for x, y in stream.examples(40)]) > 0.9


def test_a_canary_begins_as_control_does() -> None:
    """Or every new version would look worse than it is: both learn the support in the order in
    which it came, for what comes last counts most."""
    flashes = [SimulatedFlash(), SimulatedFlash()]
    canary, control = (device(flash) for flash in flashes)
    for x, y in GestureDevice(5).examples(60):
        canary.learn_one(x, y)
        control.learn_one(x, y)
    next_version(canary, flashes[0])
    Slots(Store(flashes[1])).save_assignment(
        Assignment(DesiredState("d", "f", 1, "reset", control.release), "factory")
    )
    control.tick()
    learnt = [one._life.active.params for one in (canary, control)]
    for name, tensor in learnt[0].items():
        np.testing.assert_array_equal(tensor, learnt[1][name], err_msg=name)


def test_what_was_learnt_but_is_not_used_survives_a_restart() -> None:
    stream, flash, rng = GestureDevice(6), SimulatedFlash(), np.random.default_rng(1)
    learner = device(flash)
    for x, _ in stream.examples(60):
        learner.learn_one(x, LABELS[rng.integers(3)])
    learner.close()
    again = device(flash)
    assert again.adapted == learner.adapted
    for name in learner._life.active.running.engine.moving:
        np.testing.assert_array_equal(again._life.active.params[name], learner._life.active.params[name])


@pytest.mark.parametrize("updates", [3000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_float32_stays_at_the_batch_posterior(updates: int) -> None:
    """Of the last layer, on one feature map: predictions within 1e-4 of their range in float64."""
    heads, rng = engine(), np.random.default_rng(0)
    heads._learn = heads._learning(heads._learn.session, (1.0, 1.0))
    xs = rng.normal(size=(200, 1, 3, 8)).astype(np.float32)
    seen = [heads.features(heads.start, x) for x in xs]
    phis = np.stack([each["phi"][0] for each in seen]).astype(np.float64)
    cov0, mean0 = (heads.start[f"state.last.{part}"].astype(np.float64) for part in ("cov", "mean"))
    precision = np.linalg.inv(cov0)
    total = precision @ mean0
    params = dict(heads.start)
    for _ in range(updates):
        at, y = int(rng.integers(200)), int(rng.integers(3))
        params |= heads._updated(heads._learn, params, seen[at], heads._target(np.array([y])))
        precision = precision + np.outer(phis[at], phis[at])
        total = total + np.outer(phis[at], np.eye(3)[y] - 1 / 3)
    expected = phis @ np.linalg.solve(precision, total)
    found = phis @ params["state.last.mean"]
    assert np.abs(found - expected).max() / np.ptp(expected) < 1e-4
    np.testing.assert_array_equal(params["state.last.cov"], params["state.last.cov"].T)


def test_experts_weigh_by_their_recent_scores() -> None:
    prior, trust = np.array([-3.0, 0.0], np.float32), np.zeros(2, np.float32)
    assert experts.weights(trust, prior)[0] == pytest.approx(np.exp(-3) / (1 + np.exp(-3)), rel=1e-5)
    for _ in range(50):
        trust = experts.after(trust, np.array([-0.1, -1.0], np.float32))
    assert experts.weights(trust, prior)[0] > 0.99
    for _ in range(10):
        trust = experts.after(trust, np.array([np.nan, -0.1], np.float32))
    assert experts.weights(trust, prior)[1] > 0.99
    assert np.isfinite(trust).all()


def test_intervals_are_for_numbers() -> None:
    learner = device()
    with pytest.raises(LabelError, match="use predict_one"):
        learner.predict_interval_one(GestureDevice(1).example()[0])
    with pytest.raises(ValueError, match="level is 1"):
        learner.predict_interval_one(GestureDevice(1).example()[0], level=1.0)


def test_an_engine_reads_with_the_parameters_it_is_given() -> None:
    """Those of another version too: a simulation makes versions so."""
    made, x = engine(), np.random.default_rng(0).normal(size=(1, 3, 8)).astype(np.float32)
    own = made.features(made.start, x)["phi"]
    moved = {name: 2 * each if name.startswith("param.") else each for name, each in made.start.items()}
    assert not np.allclose(made.features(moved, x)["phi"], own)
    np.testing.assert_array_equal(made.features(dict(made.start), x)["phi"], own)


def test_another_engine_of_the_same_graphs_shares_its_sessions() -> None:
    first = engine()
    second = ClosedFormEngine(read_bundle(tiny_bundle("closed-form").get), first)
    assert second._learn.session is first._learn.session
    assert second._features.session is first._features.session


def changed(**tensors: np.ndarray) -> Bundle:
    """The bundle with other numbers in its sanity vector, whose hash is right again."""
    files = tiny_bundle("closed-form")
    files[SANITY] = serialize({**parse(files[SANITY]), **tensors})
    manifest = read_bundle(tiny_bundle("closed-form").get).manifest
    listed = {name: File(len(data), read_hash(data)) for name, data in files.items() if name != MANIFEST}
    return Bundle(replace(manifest, files=listed), files)


def read_hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_bundle_that_computes_something_else_is_refused() -> None:
    outputs = parse(tiny_bundle("closed-form")[SANITY])["outputs"].copy()
    outputs[-1, 0] += 0.01
    with pytest.raises(BundleError, match="off its sanity vector"):
        load_engine(changed(outputs=outputs))


def test_kinds_are_told_apart_and_bound_to_their_files() -> None:
    manifest = read_bundle(tiny_bundle("closed-form").get).manifest
    document = write(manifest)
    assert document["adaptation"]["kind"] == "closed-form"
    assert "kind" not in write(read_bundle(tiny_bundle().get).manifest)["adaptation"], "as written before"
    for adaptation, message in (
        ({**document["adaptation"], "kind": "magic"}, r"kind: 'magic' is not one of gradient, closed-form"),
        ({**document["adaptation"], "forgetting": [0.2, 1.0]}, "forgetting.*outside 0.5 to 1"),
        ({**document["adaptation"], "forgetting": [1.0]}, "name each head once"),
    ):
        with pytest.raises(ProtocolError, match=message):
            read(type(manifest), {**document, "adaptation": adaptation})
    other = dict.fromkeys(FILES, document["files"][SANITY])
    with pytest.raises(ProtocolError, match=r"a bundle holds \['features.onnx', 'learn.onnx'"):
        read(type(manifest), {**document, "files": other})


def test_an_error_counts_beside_the_largest_number_of_its_row() -> None:
    expected = np.array([[-0.01, -200.0], [-0.7, -0.7]], np.float32)
    told = expected + np.array([[0.02, 0.0], [0.0, 1e-5]], np.float32)
    assert row_error(told, expected) == pytest.approx(0.02 / 200, rel=1e-3)
    assert row_error(expected + np.float32([[0], [1e-3]]), expected) == pytest.approx(1e-3, rel=1e-2)
