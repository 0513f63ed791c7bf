"""Who measured, and when: names that several columns write, clocks that start again, words that mislead."""

import numpy as np
import pytest

from acclimate.cli.init import init
from acclimate.errors import DataError
from tests.unit.cli.conftest import ROWS
from tests.unit.cli.test_init import declared, run


@pytest.mark.parametrize("by", ["time", "pumpId"])
@pytest.mark.parametrize("finer", ["number", "serial"])
def test_devices_measured_at_once_are_several_whatever_the_site_is_called(pumps, by, finer):
    pumps["station"] = "s" + (pumps.pumpId.str[1:].astype(int) // 4).astype(str)
    pumps["number"] = pumps.pumpId.str[1:].astype(int) % 4
    pumps["serial"] = pumps.pumpId
    kept = pumps.drop(columns=["pumpId", "number" if finer == "serial" else "serial"]).assign(by=pumps[by])
    found = declared(kept.sort_values("by", kind="stable").drop(columns="by"), "--target", "flow")
    assert found["task"] == {"number": "station + number", "serial": "serial"}[finer]
    assert "recording" not in found
    assert finer not in found["channels"]


def test_runs_that_two_columns_number_are_told_apart_and_what_counts_down_in_them(pumps):
    length = 80
    pumps["batch"] = np.array(["a", "b"])[pumps.index // (2 * length) % 2]
    pumps["run"] = pumps.index // length % 2
    pumps["time"] = pumps.index % length
    pumps["left"] = length - 1 - pumps.time
    pumps = pumps[pumps.index % ROWS < 4 * length].drop(columns="state").reset_index(drop=True)
    found = declared(pumps, "--target", "left")
    assert found["recording"] == "run + batch"
    assert found["kind"] == "regression"
    one_run = pumps.query("batch == 'a' and run == 0").drop(columns=["batch", "run"])
    assert declared(one_run, "--force")["targets"] == ["left"]


@pytest.mark.parametrize(
    "names", [("acc_x", "acc_y"), ("AccX", "AccY"), ("ay", "az"), ("y", "z"), ("tBodyAcc", "pos_t")]
)
def test_letters_in_names_of_sensors_are_no_targets_and_no_clocks(pumps, names):
    found = declared(
        pumps.rename(columns=dict(zip(("pressure", "flow"), names, strict=True))).drop(columns="state")
    )
    assert (found["kind"], found["time"]) == ("forecasting", "time")
    assert set(names) <= set(found["channels"])


def test_a_letter_of_a_sensors_name_orders_no_rows(pumps):
    found = declared(pumps.rename(columns={"pressure": "tBodyAcc"}).drop(columns="time"))
    assert "time" not in found
    assert "tBodyAcc" in found["channels"]


def test_what_befalls_a_machine_is_no_machine(pumps):
    pumps["machine failure"] = pumps.pop("state") == "run"
    assert declared(pumps.rename(columns={"pumpId": "where"}))["task"] == "where"


def test_a_date_and_a_time_of_day_are_no_devices(pumps):
    pumps["day"], pumps["hour"] = pumps.time.dt.strftime("%Y-%m-%d"), pumps.time.dt.strftime("%H:%M:%S.%f")
    pumps = pumps.assign(where=pumps.pumpId.str[1:].astype(int)).drop(columns=["time", "pumpId"])
    found = declared(pumps)
    assert (found["task"], found["time"]) == ("where", "day + hour")


def test_no_channel_is_left_says_what_each_column_was_taken_for(pumps):
    pumps[["pumpId", "time", "state"]].to_csv("events.csv", index=False)
    with pytest.raises(DataError, match="'pumpId' is the task; 'time' is the time; 'state' is the label"):
        run(init, "events.csv")


def test_a_kind_that_no_column_shows_is_asked_for_and_not_replaced_by_another(pumps):
    with pytest.raises(DataError, match="name the number to predict with --target"):
        declared(pumps, "--kind", "regression")
    bare = pumps.drop(columns="state").assign(on=(pumps.index // 7) % 2)
    with pytest.raises(
        DataError, match=r"no column is named or looks like classes; .* --label, such as 'on'"
    ):
        declared(bare, "--kind", "classification")
    assert declared(bare, "--kind", "classification", "--label", "on")["label"] == "on"
    with pytest.raises(DataError, match="--kind regression: no column is named like a target"):
        declared(bare, "--kind", "regression", "--force")
