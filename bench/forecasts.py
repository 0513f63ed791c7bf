"""Forecasts of five fleets beside last week's value: the shipped body, trained by `acclimate train`.

`python -m bench.forecasts [FLEET ...]` needs the data sets below ACCLIMATE_DATA_DIR (default
`../shared/data`). Every device is held out once in three folds. The others train on the first half of the
time; how long is chosen on further devices and on blocks of time that training does not see, then a second
run on all of them but one stops there. What is printed is the mean over devices of the error in the second
half, over that of last week's value.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from acclimate.learners import under
from acclimate.tasks import TaskPool
from acclimate.tasks.pool.windows import read_inputs, read_targets
from acclimate.training.checkpoint import load_checkpoint
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe_file import load_recipe

DATA = Path(os.environ.get("ACCLIMATE_DATA_DIR", "../shared/data"))
FOLDS = 3
EVERY = 5  # rows between two forecasts that are judged, of hourly fleets


@dataclass(frozen=True)
class Fleet:
    """One regular series a device.

    Attributes:
        read: columns `device`, `time`, `value`; NaN where nothing was measured.
        leads: rows ahead.
        seasons: rows of a day and a week.
        study: what the study's network reached (`shared/design/forecasting.md`).
    """

    read: Callable[[], pd.DataFrame]
    leads: tuple[int, ...]
    seasons: tuple[int, ...]
    study: tuple[float, ...]


def parking() -> pd.DataFrame:
    table = pd.read_parquet(DATA / "parking_birmingham30/parking.parquet")
    table = table[table.groupby("car_park").occupancy.transform("size") > 1000]
    slot = ((table.time.dt.hour * 60 + table.time.dt.minute) / 30).round().astype(int)
    table = table.assign(
        value=(table.occupancy / table.capacity).clip(0, 1.1),
        time=table.time.dt.normalize() + pd.to_timedelta(30 * slot, "min"),
    )[slot.between(16, 33)]
    days = pd.date_range(table.time.min().normalize(), table.time.max().normalize())
    slots = [day + pd.Timedelta(minutes=30 * each) for day in days for each in range(16, 34)]
    return _regular(table.rename(columns={"car_park": "device"}), pd.DatetimeIndex(slots))


def homes(column: str, left_out: tuple[int, ...] = ()) -> pd.DataFrame:
    table = pd.read_parquet(DATA / "zne_homes17/homes_hourly.parquet")
    table = table[~table.home.isin(left_out)]
    time_ = pd.Timestamp("2016-08-01") + pd.to_timedelta(table.hour_index, "h")
    return pd.DataFrame({"device": table.home.astype(str), "time": time_, "value": table[column]})


def beijing() -> pd.DataFrame:
    table = pd.read_parquet(DATA / "beijing_air12/air.parquet")
    time_ = pd.Timestamp("2013-03-01") + pd.to_timedelta(table.hour_index, "h")
    return pd.DataFrame({"device": table.station, "time": time_, "value": np.log1p(table.PM25)})


def cambridge() -> pd.DataFrame:
    table = pd.read_parquet(DATA / "cambridge_meters60/cambridge_meters60.parquet")
    table = table[table.time.dt.year < 2020].assign(value=lambda each: each.kwh.where(each.kwh > 0))
    return _regular(table, pd.DatetimeIndex(np.sort(table.time.unique())))


FLEETS = {
    "parking": Fleet(parking, (1, 4, 18), (18, 126), (0.328, 0.724, 0.947)),
    "homes": Fleet(lambda: homes("load_kwh"), (1, 4, 24), (24, 168), (0.594, 0.752, 0.750)),
    "homes-pv": Fleet(lambda: homes("solar_wh_per_kw", (15,)), (1, 4, 24), (24, 168), (0.431, 0.667, 0.676)),
    "beijing": Fleet(beijing, (1, 4, 24), (24, 168), (0.169, 0.331, 0.670)),
    "cambridge": Fleet(cambridge, (1, 4, 24), (24, 168), (0.400, 0.603, 0.712)),
}


def main(names: list[str]) -> None:
    for name in names or list(FLEETS):
        fleet, started = FLEETS[name], time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="bench-forecasts-") as folder:
            ratios, steps = measured(name, fleet, Path(folder))
        reached = np.mean(ratios, axis=0)
        print(
            f"{name}: {len(ratios)} devices, {' / '.join(map(str, fleet.leads))} rows ahead: "
            f"{' / '.join(f'{each:.3f}' for each in reached)}; the study's network "
            f"{' / '.join(f'{each:.3f}' for each in fleet.study)}: "
            f"{' / '.join(f'{100 * each:+.1f} %' for each in reached / np.array(fleet.study) - 1)}; "
            f"stopped after {steps}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


def measured(name: str, fleet: Fleet, folder: Path) -> tuple[list[np.ndarray], list[int]]:
    """For each device, its error at each lead over that of last week's value; and the steps of each fold."""
    table = fleet.read().reset_index(drop=True)
    table.to_parquet(folder / "data.parquet")
    devices = np.sort(table.device.unique())
    ratios, steps = [], []
    for fold in np.array_split(np.random.default_rng(0).permutation(devices), FOLDS):
        recipe = folder / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(written(name, fleet, folder, [str(each) for each in fold])))
        probed = train(recipe, folder, "data.validation=0.2", "training.period=fitted")
        best = load_checkpoint(probed).best
        assert best is not None
        steps.append(max(int(best["step"]), 100))
        last = train(recipe, folder, "data.validation=1", f"training.stop_at={steps[-1]}")
        problem = open_problem(load_recipe(str(recipe), ["data.validation=1"]))
        ratios += judged(problem, load_checkpoint(last).result, fleet)
    return ratios, steps


def written(name: str, fleet: Fleet, folder: Path, test: list[str]) -> dict[str, Any]:
    """The recipe: what `init` writes for a forecast, with the protocol of the study."""
    recordings = {
        "kind": "forecasting",
        "task": "device",
        "time": "time",
        "channels": ["value"],
        "targets": ["value"],
        "window": 24,
        "stride": 1,
        "leads": list(fleet.leads),
        "seasons": list(fleet.seasons),
        "calendar": ["day", "week"],
        "missing": "season",
    }
    optimizer = {"name": "adamw", "lr": 0.003, "final_lr": 0.0, "warmup": 0.1, "weight_decay": 1e-4}
    return {
        "name": name,
        "data": {
            "source": str(folder / "data.parquet"),
            "recordings": recordings,
            "test_groups": test,
            "until": 0.5,
        },
        "episodes": {"shots": 32, "query_shots": 32},
        "model": {"name": "forecast"},
        "learner": {"algorithm": "joint", "loss": "mae", "trainable": "head", "inner_lr": 0.01},
        "baseline": {"joint": False},
        "training": {
            "steps": 2000,
            "validate_every": 250,
            "patience": None,
            "meta_batch": 8,
            "shard": 8,
            "workers": 0,
            "average": 0.995,
            "optimizer": {**optimizer, "clip_norm": 1.0},
        },
        "evaluation": {"shots": [32], "steps": [0, 1], "long_steps": 2, "draws": 1, "rivals": False},
    }


def train(recipe: Path, folder: Path, *changes: str) -> Path:
    """Run `acclimate train`; the checkpoint of the start."""
    home = folder / f"home-{len(list(folder.glob('home-*')))}"
    command = [sys.executable, "-m", "acclimate", "train", str(recipe)]
    command += [part for change in changes for part in ("--set", change)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "ACCLIMATE_HOME": str(home)})
    return next(home.glob("runs/*/*/meta-0.pt"))


def judged(problem: Problem, meta: dict[str, torch.Tensor], fleet: Fleet) -> list[np.ndarray]:
    """By held-out device, over every forecast of the second half that is judged."""
    pool, learner = problem.data, problem.learner()
    assert isinstance(pool, TaskPool)
    params, scale = under(meta, "param."), problem.normalization
    back, week = pool.info.schema.history - 1, fleet.seasons[-1]
    every = 1 if fleet.seasons[0] < 24 else EVERY
    found = []
    for task in problem.split.test:
        starts = np.asarray(pool.starts[pool.cells[task] : pool.cells[task + 1]])
        latest = starts + back - int(pool.rows[task])
        half = int(pool.rows[task + 1] - pool.rows[task]) // 2
        starts = starts[(latest >= half) & ((latest - half) % every == 0)]
        x = torch.from_numpy(read_inputs(pool, starts[None], scale))
        y = read_targets(pool, starts[None], None)[0]
        answer = learner.predict(params, x)[0].numpy() * scale.target_scale[0] + scale.target_mean[0]
        rows = starts[:, None] + back + np.array(fleet.leads) - week
        last_week = pool.values[rows, 0]
        found.append(np.abs(answer - y).mean(0) / np.abs(last_week - y).mean(0))
    return found


def _regular(table: pd.DataFrame, times: pd.DatetimeIndex) -> pd.DataFrame:
    """A row for every device and time."""
    wide = table.pivot_table(index="time", columns="device", values="value", observed=True).reindex(times)
    kept = wide.loc[:, wide.notna().mean() > 0.85]
    long = kept.rename_axis("time").reset_index().melt("time", var_name="device", value_name="value")
    return long.assign(device=long.device.astype(str))


if __name__ == "__main__":
    main(sys.argv[1:])
