"""Sinusoid regression, 10-shot, MAML with 5 inner steps: query error of unseen waves against time.

    python -m bench.sinusoid --out out/sinusoid

The task of the MAML paper (https://arxiv.org/abs/1703.03400): amplitude in [0.1, 5], phase in [0, pi], a
network of two layers of 40. Waves are smooth, and so is tanh: with the paper's relu (`--activation relu`) the
error stays about twice as large. Writes `sinusoid.json` and `sinusoid.png`, which shows one unseen wave
before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch

from acclimate.initialization import ModelSpec
from acclimate.learners import Learner, LearnerConfig, MetaParams, build_learner, loss_for
from acclimate.models import build, parameters_of
from acclimate.tasks import EpisodePlan, Episodes, open_dataset
from bench.outer_loop import meta_train

mpl.use("Agg")
import matplotlib.pyplot as plt

SHOTS, INNER_STEPS, TASKS_A_STEP, UNSEEN = 10, 5, 25, 600


def main() -> None:
    arguments = _arguments()
    began_wall, began_cpu = time.perf_counter(), _cpu()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    waves = open_dataset("sinusoid")
    plan = EpisodePlan(shots=SHOTS, query_shots=arguments.query)
    everything = np.arange(len(waves.task_ids))
    training = waves.sampler(everything[UNSEEN:], plan, seed=arguments.seed)
    judged = EpisodePlan(shots=SHOTS, query_shots=100)
    unseen = waves.sampler(everything[:UNSEEN], judged, seed=arguments.seed).every_task()
    model = build(
        ModelSpec(
            "mlp",
            training.input_shape,
            training.outputs,
            {"hidden": [arguments.hidden] * 2, "activation": arguments.activation},
        )
    )
    config = LearnerConfig(
        "maml", arguments.inner_lr, INNER_STEPS, compile="off" if arguments.no_compile else "auto"
    )
    learner = build_learner(config, model, loss_for("regression"), outer_steps=arguments.steps)
    print(f"engine: {learner.backend.name} ({learner.backend.reason}); load {os.getloadavg()[0]:.1f}")
    curve: list[dict[str, Any]] = []
    moments = meta_train(
        learner,
        learner.init(parameters_of(model)),
        training,
        steps=arguments.steps,
        meta_batch=TASKS_A_STEP,
        outer_lr=arguments.outer_lr,
        clip=1.0,  # a few steep waves would otherwise throw the start about
    )
    for moment in moments:
        if moment.step % arguments.every == 0 or moment.step == arguments.steps:
            errors = query_errors(learner, moment.meta, unseen, INNER_STEPS)
            curve.append(
                {
                    "step": moment.step,
                    "wall_s": round(time.perf_counter() - began_wall, 1),
                    "cpu_s": round(_cpu() - began_cpu, 1),
                    "mse": round(statistics.mean(errors), 4),
                    "ci95": round(1.96 * statistics.stdev(errors) / len(errors) ** 0.5, 4),
                    "load": round(os.getloadavg()[0], 1),
                }
            )
            print(json.dumps(curve[-1]), flush=True)
    by_step = [round(statistics.mean(query_errors(learner, moment.meta, unseen, k)), 4) for k in range(11)]
    print(f"query MSE of {UNSEEN} unseen waves after 0..10 inner steps: {by_step}")
    result = {
        "setting": {
            **vars(arguments),
            "out": str(arguments.out),
            "engine": learner.backend.name,
            "threads": 1,
        },
        "curve": curve,
        "mse_after_inner_steps": by_step,
    }
    (arguments.out / "sinusoid.json").write_text(json.dumps(result, indent=2))
    _plot(arguments.out / "sinusoid.png", curve, learner, moment.meta, unseen)


def query_errors(learner: Learner, meta: MetaParams, episodes: Episodes, steps: int) -> list[float]:
    """Mean squared error on the query of each task after `steps` inner steps."""
    adapted = learner.adapt(meta, episodes.support, steps)[-1]
    outputs = learner.predict(adapted, episodes.query.x)
    return (outputs - episodes.query.y).square().mean((1, 2)).tolist()


def _plot(
    path: Path, curve: list[dict[str, Any]], learner: Learner, meta: MetaParams, unseen: Episodes
) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.semilogy([point["wall_s"] for point in curve], [point["mse"] for point in curve], marker="o", ms=3)
    left.axhline(0.1, ls=":", color="grey")
    left.set(
        xlabel="seconds, compiling included", ylabel="query MSE after 5 steps", title=f"{UNSEEN} unseen waves"
    )
    x, y, _ = (part[0] for part in unseen.query)
    order = x[:, 0].argsort()
    trajectory = learner.adapt(meta, unseen.support, INNER_STEPS)
    right.plot(x[order, 0], y[order, 0], "k--", label="truth")
    for step, style in ((0, ":"), (1, "-"), (INNER_STEPS, "-")):
        outputs = learner.predict(trajectory[step], unseen.query.x)[0]
        right.plot(x[order, 0], outputs[order, 0], style, label=f"after {step} steps")
    right.plot(unseen.support.x[0, :, 0], unseen.support.y[0, :, 0], "k^", label="support")
    right.set(title="one unseen wave")
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def _cpu() -> float:
    """Processor seconds of this process and of the compilers it ran."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/sinusoid"))
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--every", type=int, default=1_000, help="steps between evaluations")
    parser.add_argument("--hidden", type=int, default=40, help="width of the two layers")
    parser.add_argument("--activation", default="tanh", help="relu in the paper")
    parser.add_argument("--inner-lr", type=float, default=0.02)
    parser.add_argument("--outer-lr", type=float, default=3e-3)
    parser.add_argument("--query", type=int, default=20, help="points a task that training judges by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
