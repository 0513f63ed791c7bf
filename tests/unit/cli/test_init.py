import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from acclimate.cli.data import data
from acclimate.cli.init import init
from acclimate.errors import DataError, RecipeError
from acclimate.training.recipe_file import load_recipe

PUMPS, ROWS = 12, 400


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    """Twelve pumps at 20 Hz in three states; the folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    random = np.random.default_rng(0)
    row = np.tile(np.arange(ROWS), PUMPS)
    return pd.DataFrame(
        {
            "pumpId": np.repeat([f"p{one:02d}" for one in range(PUMPS)], ROWS),
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(row * 0.05, unit="s"),
            "pressure": random.normal(size=PUMPS * ROWS),
            "flow": random.normal(size=PUMPS * ROWS),
            "firmware": 3,
            "state": np.array(["idle", "run"])[row // 25 % 2],
        }
    )


def run(command, *arguments: str, code: int = 0):
    result = CliRunner().invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def declared(frame: pd.DataFrame, *options: str) -> dict:
    frame.to_parquet("fleet.parquet")
    found = json.loads(run(init, "fleet.parquet", "--json", *options).stdout)
    assert load_recipe("fleet.yaml").data.recordings == found["declaration"]
    run(data, "report", "fleet.yaml")
    return found["declaration"]


def test_classes_of_timed_recordings(pumps):
    found = declared(pumps)
    assert found == {
        "kind": "classification",
        "task": "pumpId",
        "time": "time",
        "label": "state",
        "channels": ["pressure", "flow"],
        "window": 8,
        "sample_rate_hz": 20.0,
    }


def test_without_a_label_it_forecasts(pumps):
    found = declared(pumps.drop(columns="state"))
    assert (found["kind"], found["horizon"]) == ("forecasting", found["window"] // 4)


def test_a_number_named_target_is_regressed_and_rows_without_time_stand_alone(pumps):
    frame = pumps.drop(columns=["state", "time"]).assign(target=pumps.pressure * 2)
    frame.loc[7, "flow"] = np.nan
    found = declared(frame)
    assert (found["kind"], found["targets"], found["window"]) == ("regression", ["target"], 1)
    assert found["missing"] == "drop"


def test_pauses_end_recordings_and_shorten_the_window(pumps):
    night = pd.to_timedelta(np.tile(np.arange(ROWS), PUMPS) // 40, unit="h")
    found = declared(pumps.drop(columns="state").assign(time=pumps.time + night))
    assert found["max_gap"] == 0.25
    assert found["window"] + found["horizon"] <= 40


def test_a_clock_that_starts_again_for_each_label_does_not_shuffle_them(pumps):
    row = np.tile(np.arange(ROWS), PUMPS)
    frame = pumps.assign(
        state=np.array(["idle", "run"])[row // 200], time=pumps.time[: ROWS // 2].tolist() * 24
    )
    found = declared(frame)
    assert (found["recording"], found["timeline"]) == ("state", "label")
    assert found["window"] > 1


def test_what_a_person_names_is_kept(pumps):
    found = declared(pumps, "--target", "flow", "--window", "10", "--task", "state")
    assert (found["task"], found["targets"], found["window"]) == ("state", ["flow"], 10)


def test_the_comments_give_the_reasons(pumps):
    declared(pumps)
    text = Path("fleet.yaml").read_text()
    assert "# 2 classes: idle, run" in text
    assert "# left out: firmware never changes" in text
    assert yaml.safe_load(text)["data"]["test"] == 2


def test_mistakes_name_the_remedy(pumps):
    pumps.to_parquet("fleet.parquet")
    with pytest.raises(DataError, match="'pmp' is no column"):
        run(init, "fleet.parquet", "--task", "pmp")
    pumps[["pressure", "flow"]].to_parquet("bare.parquet")
    with pytest.raises(DataError, match="--task"):
        run(init, "bare.parquet")
    run(init, "fleet.parquet")
    with pytest.raises(RecipeError, match="--force"):
        run(init, "fleet.parquet")
