"""A detector of server anomalies: the error of forecasts by a start that adapts to each server.

Every server is held out once (every other one). A held-out server adapts on the last two days before its
labelled test period; then every row's score is the mean squared error, in normalized units, of all the
forecasts that reached it. Labels only judge: AUROC and average precision (AP) of single rows, without point
adjustment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from acclimate.evaluation.contenders import Start, at_setting
from acclimate.evaluation.plot import STYLE
from acclimate.evaluation.statistics import interval
from acclimate.learners import Learner, MetaParams, build_learner
from acclimate.training.problem import Problem, joint_recipe, open_problem
from acclimate.training.recipe_file import load_recipe
from bench.field_runs import Trained, train

PAGE = "industrial"
FOLDS = (("1", "3", "5", "7", "9", "11"), ("2", "4", "6", "8", "10", "12"))
TWO_DAYS = 576  # rows of five minutes
METHODS = {
    "start": "start, not adapted",
    "joint": "joint model",
    "joint_finetuned": "joint + fine-tuning",
    "meta": "**meta-learned start, adapted**",
    "device_only": "device only, same steps",
    "device_only_long": "device only, 100 steps",
    "persistence": "persistence (no change)",
}
SHORT = {name: label.strip("*").partition(",")[0] for name, label in METHODS.items()}
PUBLISHED = (
    ("PCA reconstruction, other servers", "0.782", "0.353"),
    ("the same + 2 days of the server", "0.807", "0.425"),
    ("PCA, 2 days of the server only", "0.844", "0.462"),
)
Floats = NDArray[np.float32]


class Adapting(NamedTuple):
    """A start, and the learner whose inner loop adapts it."""

    learner: Learner
    meta: MetaParams

    def with_rate(self, inner_lr: float) -> Adapting:
        return Adapting(*at_setting(self.learner, self.meta, {"inner_lr": inner_lr}))


class Server(NamedTuple):
    """A server's rows, normalized: the last two days taken as normal, and the labelled test period."""

    support: Floats
    test: Floats
    anomaly: NDArray[np.int8]


def run(data: Path, seeds: int, picture: Path) -> dict[str, Any]:
    """Train on the other servers, detect on the held-out ones."""
    source = data / "asd_servers12" / "servers.parquet"
    normal = Path(os.environ["ACCLIMATE_HOME"]) / "servers_train.parquet"
    normal.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pq.read_table(source, filters=[("split", "=", "train")]), normal)
    servers: dict[str, dict[str, Any]] = {}
    for fold in FOLDS:
        names = ", ".join(f'"{server}"' for server in fold)
        changes = [f"data.source={normal}", f"data.test_groups=[{names}]", f"evaluation.seeds={seeds}"]
        trained = train(load_recipe("servers", changes))
        for server in fold:
            rows = _read(source, server, trained.problem)
            found = [detect(trained, seed, rows) for seed in trained.seeds]
            servers[server] = {method: [one[method] for one in found] for method in METHODS}
    _plot(servers, picture)
    return {"servers": servers, "seeds": seeds}


def detect(trained: Trained, seed: int, rows: Server) -> dict[str, dict[str, float]]:
    """AUROC and AP of every method on one server, and its forecast error on the rows labelled normal."""
    problem = trained.of_seed(seed)
    schema = problem.data.schema
    figures = {}
    for method, errors in _errors(trained, seed, problem, rows):
        score = by_row(errors, schema.window, len(rows.test))
        judged = ~np.isnan(score)
        labels = rows.anomaly[judged]
        figures[method] = {
            "auroc": float(roc_auc_score(labels, score[judged])),
            "ap": float(average_precision_score(labels, score[judged])),
            "error": float(score[judged][labels == 0].mean()),
        }
    return figures


def by_row(errors: NDArray[np.float64], window: int, rows: int) -> NDArray[np.float64]:
    """The mean of the errors, `(windows, horizon)`, of all forecasts that reached a row, else NaN."""
    total, count = np.zeros(rows), np.zeros(rows)
    for ahead in range(errors.shape[1]):
        reached = slice(window + ahead, window + ahead + len(errors))
        total[reached] += errors[:, ahead]
        count[reached] += 1
    return np.divide(total, count, out=np.full(rows, np.nan), where=count > 0)


def _errors(
    trained: Trained, seed: int, problem: Problem, rows: Server
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Squared errors `(windows, horizon)` of each method, averaged over the metrics."""
    schema = problem.data.schema
    x, y = cut(rows.support, schema.window, schema.horizon)
    support = (x[None], y[None], torch.ones(1, len(x)))
    test_x, test_y = cut(rows.test, schema.window, schema.horizon)
    shape = (len(test_x), schema.horizon, -1)

    def squared(outputs: torch.Tensor) -> NDArray[np.float64]:
        return (outputs - test_y).square().reshape(shape).mean(-1).double().numpy()

    for method, contender, steps in _methods(trained, seed, problem):
        adapted = contender.learner.adapt(contender.meta, support, steps)[steps]
        yield method, squared(contender.learner.predict(adapted, test_x[None])[0])
    yield "persistence", squared(test_x[..., -1].repeat(1, schema.horizon))


def _methods(trained: Trained, seed: int, problem: Problem) -> Iterator[tuple[str, Adapting, int]]:
    """A start and its number of steps; a baseline's step size and steps are those the evaluation chose."""
    learner = problem.learner()
    meta = Adapting(learner, trained.metas[f"meta-{seed}"])
    yield "start", meta, 0
    yield "meta", meta, trained.recipe.learner.policy_steps
    config = replace(learner.config, algorithm="joint", trainable="all", serial=False)
    plain = build_learner(config, learner.model, learner.loss)
    joint = Adapting(plain, trained.metas[f"joint-{seed}"])
    yield "joint", joint, 0
    rate, steps = _chosen(trained, "joint_finetuned")
    yield "joint_finetuned", joint.with_rate(rate), steps
    untrained = Adapting(plain, open_problem(joint_recipe(problem.recipe)).start())
    rate, steps = _chosen(trained, "device_only")
    yield "device_only", untrained.with_rate(rate), steps
    yield "device_only_long", untrained.with_rate(rate), 100


def _chosen(trained: Trained, start: Start) -> tuple[float, int]:
    curve = trained.evaluation.curve(start, max(trained.evaluation.shots))
    return float(curve.setting["inner_lr"]), curve.steps[curve.chosen]


def cut(rows: Floats, window: int, horizon: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every window `(windows, metrics, window)` and what follows it, `(windows, horizon * metrics)`."""
    windows = np.lib.stride_tricks.sliding_window_view(rows, window + horizon, axis=0)
    x = torch.from_numpy(windows[..., :window].copy())
    ahead = torch.from_numpy(windows[..., window:].transpose(0, 2, 1).copy())
    return x, ahead.reshape(len(ahead), -1)


def _read(source: Path, server: str, problem: Problem) -> Server:
    table = pq.read_table(source, filters=[("server", "=", int(server))]).sort_by("t")
    split = table["split"].cast("string").to_numpy(zero_copy_only=False)
    values = np.stack([table[name].to_numpy() for name in problem.data.schema.channels], axis=1)
    mean, scale = (np.array(each) for each in (problem.normalization.mean, problem.normalization.scale))
    values = ((values - mean) / scale).astype(np.float32)
    test = split == "test"
    return Server(values[~test][-TWO_DAYS:], values[test], table["anomaly"].to_numpy()[test])


def table(result: dict[str, Any], _: Callable[..., str]) -> str:
    """As Markdown: methods by AUROC, AP and forecast error over servers."""
    servers = result["servers"]
    lines = [
        f"{len(servers)} servers, each held out once; AUROC and AP of single rows against the labels:",
        "",
        "| | AUROC | each seed | worst server | AP | AP, worst server | forecast error, normal rows |",
        "| --- | --: | :-: | --: | --: | --: | --: |",
    ]
    for method, label in METHODS.items():
        auroc, ap, error = (_values(servers, method, figure) for figure in ("auroc", "ap", "error"))
        worst, worst_ap = (int(each.mean(axis=1).argmin()) for each in (auroc, ap))
        names = list(servers)
        lines.append(
            f"| {label} | {auroc.mean():.3f} | {', '.join(f'{each:.3f}' for each in auroc.mean(axis=0))} | "
            f"{auroc.mean(axis=1).min():.3f} ({names[worst]}) | {ap.mean():.3f} | "
            f"{ap.mean(axis=1).min():.3f} ({names[worst_ap]}) | {error.mean():.3f} |"
        )
    lines += [f"| _its README: {name}_ | _{auroc}_ | | | _{ap}_ | | |" for name, auroc, ap in PUBLISHED]
    lines.append("")
    for method in ("joint", "joint_finetuned", "device_only_long", "persistence"):
        gains = (_values(servers, "meta", "auroc") - _values(servers, method, "auroc")).mean(axis=1)
        low, high = interval(gains)
        lines.append(
            f"- Adapted meta-learned start against {SHORT[method]}: AUROC {gains.mean():+.3f} (95 % interval "
            f"{low:+.3f} to {high:+.3f}), at least as good on {int((gains >= 0).sum())} of {len(gains)}."
        )
    return "\n".join(lines)


def _values(servers: dict[str, Any], method: str, figure: str) -> NDArray[np.float64]:
    """`(servers, seeds)`."""
    return np.array([[seed[figure] for seed in one[method]] for one in servers.values()])


def _plot(servers: dict[str, Any], picture: Path) -> None:
    colours = {
        "meta": "#0072B2",
        "joint_finetuned": "#D55E00",
        "joint": "#737373",
        "device_only_long": "#009E73",
        "persistence": "#CC79A7",
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
        for axis, name, title in zip(axes, ("auroc", "ap"), ("AUROC", "average precision"), strict=True):
            order = np.argsort(_values(servers, "meta", name).mean(axis=1))
            for method, colour in colours.items():
                values = _values(servers, method, name).mean(axis=1)
                strong = method == "meta"
                axis.plot(
                    values[order],
                    "o" if strong else "_",
                    color=colour,
                    markersize=9 if strong else 13,
                    markeredgewidth=2.4,
                    label=f"{SHORT[method]} (mean {values.mean():.2f})",
                    zorder=3 if strong else 2,
                )
            axis.set_xticks(range(len(order)), [list(servers)[place] for place in order])
            axis.set_xlabel("server")
            axis.set_title(title)
            axis.legend(frameon=False, fontsize=9)
        figure.suptitle(
            "Anomalies of servers never trained on, from the error of forecasts", fontweight="bold"
        )
        figure.savefig(picture, dpi=150)
        plt.close(figure)
