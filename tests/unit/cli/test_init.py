import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from acclimate.cli.data import data
from acclimate.cli.init import HeldOut, init, recipe_text
from acclimate.errors import DataError, RecipeError
from acclimate.evaluation.bodies import Body
from acclimate.tasks.columns.rhythm import longest_window
from acclimate.tasks.guessing.guessed import Guess
from acclimate.training.recipe_file import load_recipe
from tests.unit.cli.conftest import PUMPS, ROWS


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


@pytest.mark.parametrize("options", [(), ("--target", "flow"), ("--kind", "anomaly")])
def test_the_report_is_of_what_a_device_adapts_on(pumps, options):
    declared(pumps, *options)
    recipe = load_recipe("fleet.yaml")
    assert recipe.evaluation.shots[-1] == recipe.episodes.shots


def test_the_comments_give_the_reasons(pumps):
    declared(pumps)
    text = Path("fleet.yaml").read_text()
    assert "# 2 classes: idle, run" in text
    assert "# left out: firmware never changes" in text
    assert yaml.safe_load(text)["data"]["test"] == 2


def motors(loud: bool) -> pd.DataFrame:
    """Five motors at 20 kHz: a fault rings at a frequency of its own, or (loud) is the same noise, louder."""
    random, rows = np.random.default_rng(0), 16384
    parts = []
    for motor, state in np.ndindex(5, 2):
        noise = random.normal(size=rows)
        if loud:
            signal = noise * (1 + 2 * state)
        else:
            signal = np.sin(2 * np.pi * (0.05 + 0.03 * state + 0.002 * motor) * np.arange(rows)) + noise
            signal *= random.uniform(0.2, 5)  # the gain of the mounting
        names = {"motor": f"m{motor}", "state": ["sound", "worn"][state], "file": 2 * motor + state}
        parts.append(pd.DataFrame({"n": np.arange(rows), "acceleration": signal}).assign(**names))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("loud", [False, True])
def test_signals_get_long_windows_and_a_spectrum_and_levels_only_where_they_tell(pumps, loud):
    found = declared(motors(loud), "--rate", "20000")
    assert (found["time"], found["channels"], found["window"]) == ("n", ["acceleration"], 1024)
    model = load_recipe("fleet.yaml").model
    assert (model.name, model.options) == ("spectral", {"level": True} if loud else {})
    text = Path("fleet.yaml").read_text()
    assert "# left out: file stands still within every recording" in text
    assert "balanced accuracy: spectrum" in text


@pytest.mark.parametrize(
    ("rate", "rows", "window"), [(None, 2000, 128), (None, 140_000, 2048), (50, 10**6, 128), (1000, 9, 1024)]
)
def test_the_faster_the_rows_the_longer_the_window(rate, rows, window):
    assert longest_window(rate, rows) == window


def test_a_clock_in_milliseconds_that_restarts_with_each_recording(pumps):
    row = np.tile(np.arange(ROWS), PUMPS)
    frame = pumps.drop(columns="time").assign(t_ms=row % 100 * 10, run=row // 100, state=row // 50 % 2)
    found = declared(frame)
    assert (found["recording"], found["sample_rate_hz"], "max_gap" in found) == ("run", 100.0, False)


def test_what_is_not_normal_needs_no_label_and_takes_one_to_be_judged_by(pumps):
    found = declared(pumps.assign(state=np.where(pumps.pressure > 2.5, "odd", "ok")), "--kind", "anomaly")
    assert (found["kind"], found["label"], found["normal"], found["window"]) == (
        "anomaly",
        "state",
        ["ok"],
        8,
    )
    recipe = load_recipe("fleet.yaml")
    assert (recipe.model.name, recipe.learner.algorithm) == ("levels", "closed-form")
    assert recipe.anomaly.false_alarms == 30
    bare = declared(pumps.drop(columns="state"), "--kind", "anomaly", "--force")
    assert "label" not in bare


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


def test_a_target_that_goes_by_its_own_past_is_forecast_and_another_is_not(pumps):
    home = pumps.drop(columns=["state", "pressure"]).assign(
        load=np.sin(np.tile(np.arange(ROWS), PUMPS) / 20) + 0.01 * pumps.flow
    )
    found = declared(home, "--target", "load", "--horizon", "16")
    assert (found["kind"], found["targets"], found["horizon"]) == ("forecasting", ["load"], 16)
    assert "load" in found["channels"]
    found = declared(home, "--target", "load", "--force")
    assert found["kind"] == "forecasting"
    found = declared(home, "--target", "load", "--kind", "regression", "--force")
    assert (found["kind"], found["channels"]) == ("regression", ["flow"])
    noise = pumps.drop(columns="state")
    assert declared(noise, "--target", "flow", "--force")["kind"] == "regression"


def test_a_role_that_does_not_fit_is_refused(pumps):
    pumps.to_parquet("fleet.parquet")
    with pytest.raises(DataError, match="both name 'time': a column has one role"):
        run(init, "fleet.parquet", "--label", "time", "--time", "time")
    with pytest.raises(RecipeError, match="--horizon is for forecasting"):
        run(init, "fleet.parquet", "--horizon", "4", "--kind", "regression")
    run(init, "fleet.parquet", "--label", "firmware", "--recording", "state", "--group", "pumpId")


def test_gaps_choose_what_is_done_about_them_and_the_window_by_what_survives(pumps):
    random = np.random.default_rng(1)
    frame = pumps.drop(columns="state")
    for column in ("pressure", "flow"):
        frame.loc[random.random(len(frame)) < 0.03, column] = np.nan
    found = declared(frame, "--window", "16", "--kind", "forecasting", "--target", "flow", "--horizon", "1")
    assert found["missing"] == "hold"
    text = Path("fleet.yaml").read_text()
    assert re.search(r"missing: hold  # \d+ values are missing in the sample; 9\d % of the windows", text)


def test_unlabelled_rows_leave_the_window_long(pumps):
    frame = pumps.assign(state=pumps.state.where(np.arange(len(pumps)) % 7 > 0))
    found = declared(frame)
    assert (found["window"], found["missing"]) == (8, "drop")


def test_devices_without_a_whole_example_are_named(pumps):
    seen = pumps.groupby("pumpId").cumcount()
    first = pumps.pumpId.isin(pumps.pumpId.unique()[:2])
    pumps[~first | (seen < 2)].to_parquet("short.parquet")
    told = run(init, "short.parquet", "--window", "4").stdout
    assert re.search(r"too short: '.*', '.*' have no whole example: training refuses", told)
    pumps.to_parquet("whole.parquet")
    assert "too short" not in run(init, "whole.parquet", "--window", "4").stdout


def test_files_are_devices_or_recordings_and_never_classes(pumps):
    Path("fleet").mkdir()
    for name, rows in pumps.drop(columns="firmware").groupby("pumpId"):
        rows.drop(columns="pumpId").to_csv(f"fleet/{name}.csv", index=False)
    found = json.loads(run(init, "fleet", "--json").stdout)["declaration"]
    assert (found["task"], found["label"], found["time"]) == ("file", "state", "time")
    Path("days").mkdir()
    for day in range(3):  # the clock starts again with every file, and the labels are mixed within
        pumps.assign(pressure=pumps.pressure + day).to_parquet(f"days/run-{day}.parquet")
    found = json.loads(run(init, "days", "--json").stdout)["declaration"]
    assert (found["task"], found["recording"]) == ("pumpId", "file")


def test_a_table_with_a_column_for_each_device(pumps):
    time = pd.date_range("2026-01-01", periods=300, freq="h")
    homes = {f"home_{number}": np.sin(np.arange(300) / 4 + number) for number in range(6)}
    pd.DataFrame({"time": time, **homes}).to_csv("homes.csv", index=False)
    found = json.loads(run(init, "homes.csv", "--json").stdout)["declaration"]
    assert (found["wide"], found["kind"], found["targets"]) == ("home_*", "forecasting", ["value"])


def test_names_of_any_spelling_are_carried_whole_and_long_ones_refused_early(pumps):
    names = {"pressure": "Vibration [mm/s]", "flow": "Vorlauf °C: ä # 'x'"}
    found = declared(pumps.rename(columns=names))
    assert found["channels"] == list(names.values())
    text = Path("fleet.yaml").read_text()
    assert "Vibration [mm/s]" in text
    assert "Vorlauf °C" in text
    pumps.rename(columns={"flow": "n" * 141}).to_parquet("long.parquet")
    with pytest.raises(DataError, match="has 141 characters, a device takes 128: rename it"):
        run(init, "long.parquet")


def test_counters_become_their_rise_and_copies_of_the_target_are_left_out(pumps):
    energy = 1.9e9 + np.tile(np.cumsum(np.full(ROWS, 0.4)), PUMPS)
    found = declared(pumps.assign(energy_wh=energy))
    assert found["relative"] == ["energy_wh"]
    copy = pumps.assign(wear=pumps.pressure * 2, worn=pumps.pressure * 2.0 + 1, pressure=0.1 * pumps.flow)
    found = declared(copy.drop(columns="state"), "--target", "wear", "--force")
    assert sorted(found["channels"]) == ["flow", "pressure"]


def test_off_is_a_word_and_no_boolean(pumps):
    declared(pumps)
    path = Path("fleet.yaml")
    path.write_text(path.read_text().replace("learner:\n", "learner:\n  compile: off\n"))
    assert load_recipe("fleet.yaml").learner.compile == "off"
    assert load_recipe("fleet.yaml", ["learner.compile=on"]).learner.compile == "on"
    assert load_recipe("fleet.yaml", ["learner.first_order=true"]).learner.first_order is True


class TestColumnsOfStrangers:
    """Tables of no IoT project: growth of animals, sales of shops."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
        self.random = np.random.default_rng(1)

    def test_a_device_of_an_unknown_name_is_what_tells_the_rows_of_one_moment_apart(self):
        """And what never changes within one is no input; one animal that left early stops nobody."""
        chick, day = np.meshgrid(np.arange(1, 31), np.arange(0, 22, 2), indexing="ij")
        grown = 40 + day * (3 + chick % 7) + self.random.normal(size=day.shape)
        table = pd.DataFrame(
            {"weight": grown.ravel(), "time": day.ravel(), "chick": chick.ravel(), "diet": chick.ravel() % 4}
        )
        table = table[(table.chick != 18) | (table.time < 4)].sort_values("time", kind="stable")
        found = declared(table)
        assert (found["task"], found["channels"]) == ("chick", ["weight"])

    def test_a_year_orders_states_and_not_the_number_of_the_row(self):
        """As data frames are saved: the first column has no name and counts the rows."""
        state, year = np.meshgrid(np.arange(1, 31), np.arange(1963, 1993), indexing="ij")
        sales = np.cumsum(self.random.normal(size=year.shape), axis=1) + 120
        table = pd.DataFrame({"": np.arange(1, 901), "state": state.ravel(), "year": year.ravel()})
        found = declared(table.assign(sales=sales.ravel()))
        assert (found["task"], found["time"]) == ("state", "year")

    def test_a_series_with_numbers_for_nothing_is_forecast_without_them(self):
        table = pd.DataFrame({"meter": np.repeat(np.arange(12), 200), "step": np.tile(np.arange(200), 12)})
        flow = np.sin(table["step"] / 9 + table["meter"]) + 0.1 * self.random.normal(size=len(table))
        table["flow"] = np.where(self.random.random(len(table)) < 0.02, -999.0, flow)
        found = declared(table)
        assert (found["kind"], found["absent"], found["targets"]) == ("forecasting", [-999.0], ["flow"])

    def test_a_channel_that_begins_late_is_left_out_not_the_rows_before_it(self):
        shop, week = np.meshgrid(np.arange(12), np.arange(140), indexing="ij")
        table = pd.DataFrame(
            {
                "id": [f"1_{one}" for one in shop.ravel()],
                "Date": pd.Timestamp("2010-02-05") + pd.to_timedelta(week.ravel() * 7, unit="D"),
                "Weekly_Sales": self.random.normal(size=week.size),
                "Temperature": self.random.normal(size=week.size),
                "MarkDown": np.where(week.ravel() < 92, np.nan, 1.0 * week.ravel()),
                "IsHoliday": week.ravel() % 13 == 0,
            }
        )
        found = declared(table)
        assert found["channels"] == ["Weekly_Sales", "Temperature", "IsHoliday"]


def test_a_device_with_little_of_a_class_does_not_leave_all_others_few_examples(pumps):
    rare = (pumps.pumpId == "p03") & (pumps.state == "run")
    declared(pumps.drop(pumps.index[rare][60:]))
    episodes = load_recipe("fleet.yaml").episodes
    assert (episodes.shots, episodes.query_shots) == (5, 15)


@pytest.mark.parametrize(("rows", "window", "model"), [(1, 1, "mlp"), (16, 16, "levels")])
def test_a_number_is_told_from_as_many_rows_as_it_takes(pumps, rows, window, model):
    pressure = pumps.groupby("pumpId").pressure
    level = 4 * pressure.transform(lambda one: one.rolling(rows, min_periods=1).mean())
    found = declared(pumps.drop(columns="state").assign(target=level))
    recipe = load_recipe("fleet.yaml")
    assert (found["kind"], found["window"], recipe.model.name) == ("regression", window, model)
    said = "on unseen devices, by the latest rows" in Path("fleet.yaml").read_text()
    assert said == (rows == 1)  # the guess was 16 rows


@pytest.mark.parametrize(
    ("groups", "test", "validation"), [(1, 1, 0), (4, 1, 0), (21, 4, 4), (22, 8, 4), (100, 20, 17)]
)
def test_as_many_devices_judge_as_a_verdict_takes_where_there_are_enough(groups, test, validation):
    held_out = HeldOut.of(groups)
    assert (held_out.test, held_out.validation) == (test, validation)


@pytest.mark.parametrize(("groups", "batch", "shard"), [(2, 1, 1), (20, 12, 6), (100, 16, 8)])
def test_a_step_is_two_shards_whatever_the_fleet(groups, batch, shard):
    held_out = HeldOut.of(groups)
    declaration = {"kind": "regression", "task": "pumpId", "targets": ["flow"]}
    guessed = Guess(declaration, dict.fromkeys(declaration, ""), {})
    text = recipe_text("fleet", "fleet.csv", guessed, held_out, 5, 5, Body("mlp", "rows"))
    training = yaml.safe_load(text)["training"]
    assert (training["meta_batch"], training["shard"]) == (batch, shard)
    # Where nobody can tell when to end, the run is short and its step size falls.
    assert (training["steps"], "final_lr" in training["optimizer"]) == (
        (300, True) if groups < 5 else (3000, False)
    )
