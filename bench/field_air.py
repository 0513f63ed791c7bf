"""Air quality in Beijing: stations behave alike, so adapting must not make a device worse.

The recipe learns to tell fine dust from a station's other sensors. The real device SDK then lives two winter
months at each held-out station: every hour it predicts, then learns the true value. Three devices live the
same stream: one never adapts, one always uses what it adapted, one has the SDK's rule that held-back examples
decide between the adapted parameters and the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from acclimate.bundle.expectation import expected_curve
from acclimate.bundle.export import build_bundle
from acclimate.evaluation.plot import STYLE
from acclimate.tasks import TaskPool, stream
from acclimate.tasks.pool.stream import StreamExample
from acclimate.training.recipe_file import load_recipe
from acclimate_device import Device, OnlinePolicy
from acclimate_device.protocol import Expected, Release
from acclimate_device.testing import SimulatedFlash
from bench.field_runs import Trained, train

PAGE = "smart-city"
SINCE_HOUR = 33_648  # 2017-01-01: the last two months of four years
WEEK_H = 168
NEVER_JUDGES = 1_000_000_000
DEVICES = {
    "start": "never adapts: the start",
    "always": "always uses what it adapted",
    "rule": "**the SDK's rule: falls back to the start**",
}
PUBLISHED = (("ridge regression of log(1 + PM2.5), error in those units: global / adapted", "0.406 / 0.451"),)


def run(data: Path, seeds: int, picture: Path) -> dict[str, Any]:
    """Train, then let devices live at the held-out stations."""
    source = data / "beijing_air12" / "air.parquet"
    trained = train(load_recipe("air", [f"data.source={source}", f"evaluation.seeds={seeds}"]))
    pool = trained.problem.data
    assert isinstance(pool, TaskPool)
    stations: dict[str, Any] = {}
    for task in trained.problem.split.test.tolist():
        hours = [example for example in stream(pool, task) if (example.time or 0) >= SINCE_HOUR]
        stations[pool.task_ids[task]] = {
            "hours": [int(example.time or 0) for example in hours],
            "errors": {
                name: [_live(trained, seed, name, hours) for seed in trained.seeds] for name in DEVICES
            },
        }
    _plot(stations, picture)
    return {
        "evaluation": trained.evaluation.as_json(),
        "by_seed": [alone.figures() for alone in trained.by_seed()],
        "scale": trained.problem.normalization.target_scale[0],
        "stations": {station: _figures(of) for station, of in stations.items()},
        "seeds": seeds,
    }


def _live(trained: Trained, seed: int, device_name: str, hours: list[StreamExample]) -> dict[str, Any]:
    """The absolute error of each hour, and whether adapted parameters made the prediction."""
    always = device_name == "always"
    policy = OnlinePolicy(on_warning="report", on_drift="report")
    device = Device(
        _bundle(trained, seed, pays=always).get,
        SimulatedFlash(),
        replace(policy, judge_from=NEVER_JUDGES) if always else policy,
        clock=lambda: 0.0,
    )
    errors, adapted = [], []
    for hour in hours:
        adapted.append(device.adapted)
        errors.append(abs(device.predict_one(hour.x) - float(hour.y[0])))
        if device_name != "start":
            device.learn_one(hour.x, hour.y)
    return {"error": errors, "adapted": adapted}


def _bundle(trained: Trained, seed: int, pays: bool) -> dict[str, bytes]:
    """The bundle of a seed; `pays` makes a device without held-back examples trust its adaptation."""
    initialization = trained.initialization(seed)
    shots = initialization.adaptation.shots
    expected = expected_curve(trained.evaluation.as_json(), shots)
    assert expected is not None  # the evaluation has a curve of the meta-learned start
    release = Release("air", 1, initialization.content_hash())
    return dict(
        build_bundle(initialization, release, expected=_promising(expected) if pays else expected).files
    )


def _promising(expected: Expected) -> Expected:
    """The same curve, but every further step lowers the error."""
    first = expected.points[0]
    points = [replace(point, mean=first.mean / (1 + point.steps)) for point in expected.points]
    return replace(expected, points=tuple(points))


def _figures(station: dict[str, Any]) -> dict[str, Any]:
    """By device and seed: mean error, worst week against the start's same week, share of hours adapted."""
    start = station["errors"]["start"]
    return {
        name: [
            {
                "mean": float(np.mean(one["error"])),
                "worst_week": float((_weekly(station["hours"], one["error"]) - of_start).max()),
                "adapted": float(np.mean(one["adapted"])),
            }
            for one, of_start in zip(
                runs, (_weekly(station["hours"], each["error"]) for each in start), strict=True
            )
        ]
        for name, runs in station["errors"].items()
    }


def _weekly(hours: list[int], errors: list[float]) -> NDArray[np.float64]:
    week = (np.array(hours) - SINCE_HOUR) // WEEK_H
    values = np.array(errors)
    return np.array([values[week == number].mean() for number in np.unique(week)])


def table(result: dict[str, Any], curves: Callable[..., str]) -> str:
    """The recipe's own table, then the devices by station."""
    stations = result["stations"]
    lines = [
        curves(result, PUBLISHED, "µg/m³ of PM2.5"),
        "",
        f"The SDK's device for two winter months at {len(stations)} stations never trained on (µg/m³):",
        "",
        f"| | mean | each seed | {' | '.join(stations)} | worst week against the start | hours adapted |",
        f"| --- | --: | :-: |{' --: |' * len(stations)} --: | --: |",
    ]
    for name, label in DEVICES.items():
        means = np.array([[seed["mean"] for seed in one[name]] for one in stations.values()])
        worst = max(seed["worst_week"] for one in stations.values() for seed in one[name])
        adapted = np.mean([seed["adapted"] for one in stations.values() for seed in one[name]])
        lines.append(
            f"| {label} | {means.mean():.2f} | {', '.join(f'{each:.2f}' for each in means.mean(axis=0))} | "
            f"{' | '.join(f'{each:.2f}' for each in means.mean(axis=1))} | {worst:+.1f} | "
            f"{100 * adapted:.0f} % |"
        )
    return "\n".join(lines)


def _plot(stations: dict[str, Any], picture: Path) -> None:
    """Error by week relative to the start, a panel for each station."""
    colours = {"always": "#D55E00", "rule": "#0072B2"}
    labels = {"always": "always uses what it adapted", "rule": "the SDK's rule: falls back"}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(stations), figsize=(3.4 * len(stations), 4.2), sharey=True, layout="constrained"
        )
        for axis, (station, of) in zip(axes, stations.items(), strict=True):
            start = _mean_by_week(of, "start")
            for name, colour in colours.items():
                worse = _mean_by_week(of, name) - start
                axis.plot(range(1, len(worse) + 1), worse, color=colour, linewidth=2.2, label=labels[name])
            axis.axhline(0, color="#404040", linewidth=1, linestyle="--")
            axis.set_title(station)
            axis.set_xlabel("week")
        axes[0].set_ylabel("error above the start's, µg/m³")
        axes[0].legend(frameon=False, fontsize=9, loc="upper left")
        figure.suptitle("Beijing: what adapting costs, and what the fall-back keeps (mean of seeds)")
        figure.savefig(picture, dpi=150)
        plt.close(figure)


def _mean_by_week(station: dict[str, Any], name: str) -> NDArray[np.float64]:
    return np.mean([_weekly(station["hours"], one["error"]) for one in station["errors"][name]], axis=0)
