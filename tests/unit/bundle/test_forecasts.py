"""A forecast of several steps, from recordings through training and export to a device."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from acclimate.bundle.export import build_bundle
from acclimate.cli.main import cli
from acclimate.tasks import TaskPool, stream
from acclimate.training.executor import InProcess
from acclimate.training.loop import OuterState, train
from acclimate.training.problem import open_problem
from acclimate.training.recipe_file import load_recipe
from acclimate_device import Device, OnlinePolicy
from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import ProtocolError
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import Output
from acclimate_device.testing import SimulatedFlash, tiny_bundle
from tests.support.bundle_samples import release_of

HORIZON, TARGETS = 16, 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The problem that `init` makes of hourly meters of heat and power, and what three steps made of it."""
    folder = tmp_path_factory.mktemp("meters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_HOME", str(folder / "home"))
        patch.chdir(folder)
        meters().to_parquet("meters.parquet")
        result = CliRunner().invoke(cli, ["init", "meters.parquet", "--window", str(4 * HORIZON)])
        assert result.exit_code == 0, result.output
        recipe = load_recipe("meters.yaml", ["training.steps=3", "model.name=mlp", "model.options={}"])
        both = {**recipe.data.recordings, "targets": ["heat", "power"], "horizon": HORIZON}
        data = recipe.data.model_copy(update={"recordings": both})
        recipe = recipe.model_copy(update={"data": data})
        problem = open_problem(recipe)
        state = OuterState.begin(problem.start(), recipe.training.optimizer)
        train(
            recipe,
            state,
            partial(InProcess({"meta": recipe}).compute, "meta"),
            on_step=lambda report: None,
            on_checkpoint=lambda state: None,
            should_stop=lambda: False,
        )
    return problem, problem.initialization(state.meta)


def meters():
    hours = np.arange(600)
    rng = np.random.default_rng(0)
    frames = []
    for meter in range(5):
        heat = 20 + meter + 3 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 0.3, len(hours))
        power = 500 * heat + rng.normal(0, 90, len(hours))
        time = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, "h")
        frames.append(pd.DataFrame({"meter": f"m{meter}", "time": time, "heat": heat, "power": power}))
    return pd.concat(frames)


def test_a_forecast_of_several_steps_runs_and_adapts_on_a_device(trained):
    problem, initialization = trained
    bundle = build_bundle(initialization, release_of(initialization))
    assert bundle.manifest.output.width == HORIZON * TARGETS
    assert isinstance(problem.data, TaskPool)
    device = Device(bundle.files.get, SimulatedFlash(), OnlinePolicy(every=4, judge_from=1))
    predict = problem.learner().predict
    params = dict(initialization.params)
    scale = np.array(initialization.normalization.target_scale)
    mean = np.array(initialization.normalization.target_mean)
    for number, one in enumerate(stream(problem.data, 0)):
        forecast = device.predict_one(one.x)
        assert forecast.shape == (HORIZON, TARGETS)
        if not device.adapted and number < 3:
            x = torch.from_numpy(device._life.active.schema.normalize(one.x))[None, None]
            platform = predict(params, x).reshape(HORIZON, TARGETS).numpy() * scale + mean
            assert forecast == pytest.approx(platform, rel=1e-4)
        # the forecast and the answer have one shape, and an answer may be given flat
        answer = one.y.reshape(HORIZON, TARGETS)
        device.learn_one(one.x, answer if number % 2 else one.y)
    steps = device._life.recorder.steps
    assert steps > 0, "the device never adapted"
    assert 10 < forecast[0, 0] < 40
    assert 5_000 < forecast[0, 1] < 20_000


def schema(width: int, **output: object) -> Schema:
    manifest = parse_manifest(tiny_bundle()["manifest.json"])
    adaptation = replace(manifest.adaptation, loss="mae")
    forecast = Output(kind="forecasting", width=width, **output)
    return Schema(replace(manifest, output=forecast, adaptation=adaptation))


def test_one_target_over_several_steps_comes_as_one_row_of_steps() -> None:
    outputs = np.arange(4, dtype=np.float32)
    assert schema(4, targets=("a",), horizon=4).prediction(outputs).tolist() == [0, 1, 2, 3]
    assert schema(1, targets=("a",), horizon=1).prediction(outputs[:1]) == 0.0
    assert schema(4, targets=("a", "b"), horizon=2).prediction(outputs).tolist() == [[0, 1], [2, 3]]
    assert schema(2, targets=("a", "b"), horizon=1).prediction(outputs[:2]).tolist() == [0, 1]


def test_scales_are_of_the_targets_or_of_every_output() -> None:
    outputs = np.arange(4, dtype=np.float32)
    by_target = schema(4, targets=("a", "b"), horizon=2, mean=(5.0, 70.0), scale=(1.0, 10.0))
    by_output = schema(4, targets=("a", "b"), horizon=2, mean=(5.0, 70.0) * 2, scale=(1.0, 10.0) * 2)
    for one in (by_target, by_output):
        assert one.prediction(outputs).tolist() == [[5, 80], [7, 100]]
        assert one.normalize_targets([one.target([[5, 80], [7, 100]])]).tolist() == [[0, 1, 2, 3]]
    with pytest.raises(ProtocolError, match="3 means"):
        schema(4, targets=("a", "b"), horizon=2, mean=(5.0,) * 3, scale=(1.0,) * 3)


def test_a_width_that_is_not_targets_times_horizon_is_refused() -> None:
    with pytest.raises(ProtocolError, match="2 targets over 3 steps are 6"):
        schema(8, targets=("a", "b"), horizon=3)
