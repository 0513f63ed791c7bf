"""Series that nobody tuned for: `init` writes a recipe that opens, steps, and begins at "no change"."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner

from acclimate.cli.init import init
from acclimate.evaluation.naive import naive_forecasts
from acclimate.learners import under
from acclimate.training.problem import open_problem
from acclimate.training.recipe_file import load_recipe
from acclimate.training.shard import ShardWorker

HOURS = 900


def frame(values, devices=6, start="2024-03-01", freq="h", drop=0.0, **more):
    """A column `kwh` a device: `values(rng, hours)`, some rows left out."""
    parts = []
    for device in range(devices):
        rng = np.random.default_rng(device)
        hours = np.arange(HOURS)
        columns = {"meter": f"m{device}", "time": pd.date_range(start, periods=HOURS, freq=freq)}
        one = pd.DataFrame(
            {**columns, "kwh": values(rng, hours), **{k: f(rng, hours) for k, f in more.items()}}
        )
        parts.append(one[rng.random(HOURS) >= drop])
    return pd.concat(parts)


def daily(rng, hours):
    return 10 ** rng.uniform(-1, 3) * (2 + np.sin(hours / 24 * 2 * np.pi) + 0.2 * rng.normal(size=len(hours)))


def sun(rng, hours):
    return np.maximum(0, np.sin(hours / 24 * 2 * np.pi)) * rng.uniform(0, 1, len(hours))


def walk(rng, hours):
    return np.cumsum(rng.normal(size=len(hours)))


def gappy(rng, hours):
    return np.where(rng.random(len(hours)) < 0.05, np.nan, daily(rng, hours))


def standing(rng, hours):
    return np.where(hours < 500, 3.0, daily(rng, hours))


KINDS = {
    "a day": frame(daily),
    "nights of zeros": frame(sun),
    "no season": frame(walk),
    "gaps in the values": frame(gappy),
    "rows left out": frame(daily, drop=0.05),
    "a long standstill": frame(standing),
    "other inputs beside it": frame(daily, temperature=lambda rng, hours: 20 + rng.normal(size=len(hours))),
    "every five minutes": frame(daily, freq="5min"),
    "once a day": frame(walk, freq="D"),
    "two devices": frame(daily, devices=2),
    "short histories": frame(daily).groupby("meter").head(120),
    "spikes": frame(lambda rng, hours: daily(rng, hours) + 1e4 * (rng.random(len(hours)) < 0.002)),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_of_any_kind_begins_at_no_change_and_can_learn(folder, kind):
    KINDS[kind].to_parquet("meters.parquet")
    result = CliRunner().invoke(init, ["meters.parquet", "--target", "kwh", "--kind", "forecasting"])
    assert result.exit_code == 0, result.output
    problem = open_problem(load_recipe("meters.yaml"))
    assert problem.spec.name == "forecast"
    start = problem.start()
    sampler = problem.training_sampler()
    query = sampler.episodes(0, [0]).query
    assert float(query.w.sum()) > 0
    forecast = problem.learner().predict(under(start, "param."), query.x)
    no_change = naive_forecasts(problem.data.schema)["last value"](query.x)
    torch.testing.assert_close(forecast, no_change, rtol=1e-4, atol=1e-4)
    shard = ShardWorker.of(problem).compute(start, 0, [0])
    assert all(bool(torch.isfinite(each).all()) for each in shard.gradient.values())
    assert float(shard.gradient["param.linear.weight"].abs().max()) > 0
    loss = shard.figures["loss"]
    assert 0 < loss < 50, "errors are counted in the units of each window"


def test_it_says_what_it_found(folder):
    KINDS["a day"].to_parquet("meters.parquet")
    result = CliRunner().invoke(init, ["meters.parquet", "--target", "kwh", "--horizon", "12h"])
    assert result.exit_code == 0, result.output
    declared = yaml.safe_load((folder / "meters.yaml").read_text())["data"]["recordings"]
    assert declared["seasons"][0] == 24
    assert declared["horizon"] == "12h"
    assert declared["calendar"] == ["day", "week"]
    assert "a day is 24 rows" in result.output
    assert load_recipe("meters.yaml").model.name == "forecast"


def test_several_targets_have_a_season_and_a_network_in_common(folder):
    KINDS["other inputs beside it"].to_parquet("meters.parquet")
    CliRunner().invoke(init, ["meters.parquet", "--target", "kwh", "--horizon", "6"])
    recipe = load_recipe("meters.yaml")
    both = {**recipe.data.recordings, "targets": ["kwh", "temperature"]}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"recordings": both})})
    problem = open_problem(recipe)
    assert problem.spec.outputs == 12
    channels = problem.data.schema.channels
    assert [channels[at] for at in problem.model.targets] == ["kwh", "temperature"]
