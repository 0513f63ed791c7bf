"""Omniglot 5-way 1-shot on characters never seen in training: accuracy against time.

    python -m bench.omniglot --data ../shared/data/omniglot --out out/omniglot [--learner closed-form]

The protocol of the MAML paper (https://arxiv.org/abs/1703.03400): 1,200 random characters with their
rotations to train on, the other 423 to judge on, as many query images as support images, batch statistics of
the query at hand. Writes `omniglot.json` and `omniglot.png` at every evaluation, so it may be interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

from acclimate.initialization import ModelSpec
from acclimate.learners import Learner, LearnerConfig, MetaParams, build_learner, loss_for
from acclimate.models import build, parameters_of
from acclimate.tasks import EpisodePlan, open_dataset, split_tasks
from acclimate.tasks.episodes import Sampler
from bench.outer_loop import Moment, meta_train

mpl.use("Agg")
import matplotlib.pyplot as plt

LEARNERS = {
    "maml": LearnerConfig("maml", inner_lr=0.4, inner_steps=1),
    "closed-form": LearnerConfig("closed-form", exchangeable=True),
}
SETTINGS = {
    "maml": "maml, 1 inner step at 0.4, second order",
    "closed-form": "closed-form, last layer with a prior of zero for each class",
}
WAYS, SHOTS, TASKS_A_STEP, UNSEEN = 5, 1, 16, 423


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    pool = open_dataset("omniglot", data_dir=arguments.data, pool_dir=arguments.out / "pool", rotations=True)
    split = split_tasks(pool, test=UNSEEN, seed=arguments.seed)
    plan = EpisodePlan(shots=SHOTS, query_shots=SHOTS, ways=WAYS, order="random")
    training, unseen = (pool.sampler(tasks, plan, seed=arguments.seed) for tasks in (split.train, split.test))
    model = build(ModelSpec("conv4", training.input_shape, WAYS, {"filters": 64}))
    config = LEARNERS[arguments.learner]
    learner = build_learner(config, model, loss_for("classification"), outer_steps=arguments.steps)
    print(f"engine: {learner.backend.name} ({learner.backend.reason}); load {os.getloadavg()[0]:.1f}")
    curve: list[dict[str, Any]] = []
    moments = meta_train(
        learner,
        learner.init(parameters_of(model)),
        training,
        steps=arguments.steps,
        meta_batch=TASKS_A_STEP,
        outer_lr=arguments.outer_lr,
    )
    for moment in moments:
        last = moment.step == arguments.steps
        if moment.step % arguments.every == 0 or last:
            scores = accuracies(learner, moment.meta, unseen, draws=6 if last else 2)
            curve.append(_point(moment, scores))
            print(json.dumps(curve[-1]), flush=True)
            _write(arguments, curve)


def accuracies(learner: Learner, meta: MetaParams, sampler: Sampler, draws: int) -> list[float]:
    """Query accuracy of each unseen episode after adaptation."""
    scores: list[float] = []
    for draw in range(draws):
        episodes = sampler.every_task(draw)
        adapted = learner.adapt(meta, episodes.support, learner.config.inner_steps)[-1]
        outputs = learner.predict(adapted, episodes.query.x)
        scores += (outputs.argmax(-1) == episodes.query.y).float().mean(-1).tolist()
    return scores


def _point(moment: Moment, scores: list[float]) -> dict[str, Any]:
    return {
        "step": moment.step,
        "train_minutes": round(moment.wall_s / 60, 2),
        "train_cpu_minutes": round(moment.cpu_s / 60, 2),
        "accuracy": round(statistics.mean(scores), 4),
        "ci95": round(1.96 * statistics.stdev(scores) / len(scores) ** 0.5, 4),
        "episodes": len(scores),
        "load": round(os.getloadavg()[0], 1),
    }


def _write(arguments: argparse.Namespace, curve: list[dict[str, Any]]) -> None:
    setting = {
        "learner": SETTINGS[arguments.learner],
        "model": "conv4, 64 filters, batch-statistics norm",
        "tasks_a_step": TASKS_A_STEP,
        "outer": f"Adam {arguments.outer_lr}, cosine over {arguments.steps} steps",
        "seed": arguments.seed,
        "threads": 1,
    }
    (arguments.out / "omniglot.json").write_text(json.dumps({"setting": setting, "curve": curve}, indent=2))
    figure, axes = plt.subplots(figsize=(7, 4))
    minutes = [point["train_minutes"] for point in curve]
    accuracy = [100 * point["accuracy"] for point in curve]
    band = [100 * point["ci95"] for point in curve]
    axes.errorbar(
        minutes, accuracy, band, marker="o", ms=3, lw=1, label=f"{arguments.learner}, unseen characters"
    )
    for level, limit in ((95, 10), (97.5, 30)):
        axes.plot([0, limit], [level, level], ":", color="grey", lw=1)
        axes.annotate(f"{level} % within {limit} min", (limit, level), ha="right", va="bottom", fontsize=8)
    axes.set(
        xlabel="minutes of training, one thread",
        ylabel="accuracy, %",
        title="Omniglot, 5-way 1-shot",
        ylim=(80, 100),
    )
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(arguments.out / "omniglot.png", dpi=130)
    plt.close(figure)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with the Omniglot files; else they are downloaded")
    parser.add_argument("--out", type=Path, default=Path("out/omniglot"))
    parser.add_argument("--learner", choices=sorted(LEARNERS), default="maml")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--every", type=int, default=250, help="steps between evaluations")
    parser.add_argument("--outer-lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
