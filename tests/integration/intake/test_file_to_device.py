"""Anybody's recordings from file to device: every kind of problem, every form of files, gaps or none.

`init` writes the recipe, training makes a start, the bundle runs on a device, and its figures are the
platform's. Files of another form must give the very same pool, so that they share one trained start.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from acclimate.bundle.export import build_bundle
from acclimate.cli.main import cli
from acclimate.tasks import Examples
from acclimate.tasks.pool.stream import timeline
from acclimate.tasks.pool.windows import read_inputs, read_targets
from acclimate.training.executor import InProcess
from acclimate.training.loop import OuterState, train
from acclimate.training.problem import open_problem
from acclimate.training.recipe_file import load_recipe
from acclimate_device import Device, OnlinePolicy
from acclimate_device.online.adaptation import take_steps
from acclimate_device.online.support import Support
from acclimate_device.testing import SimulatedFlash
from tests.support.bundle_samples import release_of

DEVICES, ROWS, HELD_OUT, GLITCH = 6, 320, 4, 290
KINDS = {
    "classification": ("--label", "state"),
    "regression": ("--target", "wear", "--kind", "regression"),
    "forecast of 1": ("--target", "load", "--horizon", "1"),
    "forecast of 16": ("--target", "load", "--horizon", "16"),
}
SMALL = ["training.steps=2", "training.workers=0", "learner.algorithm=meta-sgd"]
SMALL += ["model.name=mlp", "model.options={hidden: [16]}"]
"""Bodies and learners have tests of their own: what is new here is the way of the data."""
FORMS = ("parquet", "csv", "folder", "partitions")
DEFAULT = {("parquet", True), ("csv", False), ("folder", True), ("partitions", False)}
"""What runs each time; the rest of the matrix is nightly."""
CELLS = [
    pytest.param(kind, form, gaps, id=f"{kind}-{form}-{'gaps' if gaps else 'clean'}", marks=marks)
    for number, kind in enumerate(KINDS)
    for place, form in enumerate(FORMS)
    for gaps in (False, True)
    for marks in [() if (form, gaps) in DEFAULT and (number + place) % 2 == 0 else (pytest.mark.nightly,)]
]


def recordings(kind: str, gaps: bool) -> pd.DataFrame:
    """A fleet sampled every minute; each device has a level and a gain of its own."""
    random = np.random.default_rng(7)
    parts = []
    for number in range(DEVICES):
        row = np.arange(ROWS)
        state = row // 32 % 2
        gain, level = random.uniform(0.5, 2), random.normal()
        load = gain * np.sin(row / 10) + level + random.normal(scale=0.05, size=ROWS)
        channels = {"load": load, "flow": gain * state + random.normal(scale=0.3, size=ROWS)}
        part = pd.DataFrame({"device": f"d-{number:02d}", **channels})
        part["time"] = pd.Timestamp("2026-03-01") + pd.to_timedelta(row, unit="min")
        if kind == "classification":
            part["state"] = np.where(state, "run", "idle")
        if kind == "regression":
            part["wear"] = part.flow * 0.5 + level + random.normal(scale=0.1, size=ROWS)
        if number == HELD_OUT:
            part.loc[GLITCH, ["load", "flow"]] = 1e5, -1e5  # a glitch, far outside of what training sees
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    numbers = frame.select_dtypes("number").columns
    frame[numbers] = frame[numbers].astype(np.float32).astype(float)
    # What is forecast after the glitch has no gap: else a horizon of 16 leaves no window that holds it.
    row = np.arange(len(frame))
    spared = (row // ROWS == HELD_OUT) & (row % ROWS >= GLITCH)
    for channel in ("load", "flow") if gaps else ():
        frame.loc[(random.random(len(frame)) < 0.03) & ~spared, channel] = np.nan
    return frame


def write(frame: pd.DataFrame, form: str, folder: Path) -> Path:
    if form == "parquet":
        frame.to_parquet(folder / "fleet.parquet")
        return folder / "fleet.parquet"
    if form == "csv":
        frame.to_csv(folder / "fleet.csv", index=False, sep=";", decimal=",")
        return folder / "fleet.csv"
    fleet = folder / "fleet"
    fleet.mkdir()
    for device, rows in frame.groupby("device"):
        own = rows.drop(columns="device")
        if form == "folder":
            own.to_csv(fleet / f"{device}.csv", index=False)
        else:
            (fleet / f"device={device}").mkdir()
            own.to_parquet(fleet / f"device={device}" / "part.parquet")
    return fleet


def problem_of(kind: str, form: str, gaps: bool, folder: Path):
    """What `init` makes of the files."""
    source, recipe = write(recordings(kind, gaps), form, folder), folder / "recipe.yaml"
    options = [str(source), "--output", str(recipe), "--json", "--window", "16", *KINDS[kind]]
    result = CliRunner().invoke(cli, ["init", *options])
    assert result.exit_code == 0, result.output + repr(result.exception)
    declared = json.loads(result.stdout)["declaration"]
    assert declared["kind"] == ("forecasting" if kind.startswith("forecast") else kind)
    return open_problem(load_recipe(str(recipe), SMALL))


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Where pools are built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """The trained start of a kind of problem, with gaps or without; made of Parquet the first time."""
    made = {}

    def start(kind: str, gaps: bool):
        if (kind, gaps) not in made:
            problem = problem_of(kind, "parquet", gaps, tmp_path_factory.mktemp("start"))
            recipe = problem.recipe
            state = OuterState.begin(problem.start(), recipe.training.optimizer)
            compute = partial(InProcess({"meta": recipe}).compute, "meta")
            nothing = lambda *_: None  # noqa: E731
            train(recipe, state, compute, on_step=nothing, on_checkpoint=nothing, should_stop=lambda: False)
            initialization = problem.initialization(state.meta)
            bundle = build_bundle(initialization, release_of(initialization))
            made[kind, gaps] = problem.data.info.content_hash, state.meta, initialization, bundle
        return made[kind, gaps]

    return start


@pytest.mark.parametrize(("kind", "form", "gaps"), CELLS)
def test_from_file_to_device_with_the_platforms_figures(kind, form, gaps, starts, tmp_path):
    problem = problem_of(kind, form, gaps, tmp_path)
    content, meta, initialization, bundle = starts(kind, gaps)
    pool = problem.data
    assert pool.info.content_hash == content
    assert pool.task_ids == tuple(f"d-{number:02d}" for number in range(DEVICES))

    (task,) = map(int, problem.split.test)
    assert task == HELD_OUT
    starts_of, classes = timeline(pool, task)
    raw = read_inputs(pool, starts_of, None)
    x = read_inputs(pool, starts_of, initialization.normalization)
    device = Device(bundle.files.get, SimulatedFlash(), OnlinePolicy(judge_from=1, every=2, hold_back=3))
    schema, engine = device._life.active.schema, device._life.active.running.engine
    for one, prepared in zip(raw, x, strict=True):
        np.testing.assert_array_equal(schema.normalize(schema.input(one)), prepared)  # bit for bit
    glitched = (np.abs(raw) > 1e4).any(axis=(1, 2)).sum()
    assert schema.take_clamped() == glitched > 0  # also where a window holds the glitch

    learner = problem.learner()
    start = dict(initialization.params)
    outputs = learner.predict(start, torch.from_numpy(x)[None])[0].numpy()
    for one, wanted in zip(raw[:8], outputs, strict=False):
        assert_same_prediction(device, one, wanted)

    answers = answers_of(pool, starts_of, classes)
    size = min(bundle.manifest.adaptation.batch, len(raw) // 2)
    support = Support(schema, shots=size, held_back=0, hold_back=10**9)
    for one, answer in zip(raw[:size], answers, strict=False):
        support.add(schema.input(one), schema.target(answer))
    (batch,) = support.batches(bundle.manifest.adaptation.batch)
    adapted = take_steps(engine, engine.start, [batch])
    examples = Examples(*(torch.from_numpy(part)[None] for part in (batch.x, batch.y, batch.w)))
    steps = bundle.manifest.adaptation.steps
    wanted = learner.predict(learner.adapt(meta, examples, steps)[-1], torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(engine.outputs(adapted, x), wanted, rtol=1e-3, atol=1e-4)

    for one, answer in zip(raw, answers, strict=True):
        device.learn_one(one, answer)
    assert device._life.recorder.steps > 0
    assert np.isfinite(np.asarray(probabilities_or_numbers(device, raw[-1]))).all()


def answers_of(pool, starts_of, classes):
    if pool.targets is None:
        return [pool.info.labels[one] for one in classes]
    return list(read_targets(pool, starts_of, None))


def probabilities_or_numbers(device: Device, one):
    if device.manifest.output.kind == "classification":
        return list(device.predict_proba_one(one).values())
    return device.predict_one(one)


def assert_same_prediction(device: Device, one, outputs) -> None:
    found = np.asarray(probabilities_or_numbers(device, one)).reshape(-1)
    output = device.manifest.output
    if output.kind == "classification":
        weights = np.exp(outputs - outputs.max())
        np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-4, atol=1e-6)
        return
    repeat = len(outputs) // len(output.mean)
    wanted = outputs * np.tile(output.scale, repeat) + np.tile(output.mean, repeat)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
