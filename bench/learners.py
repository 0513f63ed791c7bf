"""Every learner on the same recipe: the table of docs/how-to/choose-a-learner.md.

    python -m bench.learners [NAME ...] [--seeds 1]

Shipped recipes with nothing changed but the learner and its inner rate. Each learner is trained with every
rate, and the one that does best on the held-out tasks counts: in favour of all, alike.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from acclimate.evaluation import LABELS, Evaluation
from acclimate.evaluation.contenders import Start
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow import meta_train
from bench.field_runs import Silent
from bench.fields import DOCS, insert, machine

PAGE = DOCS / "how-to" / "choose-a-learner.md"
LEARNERS: dict[str, tuple[str, ...]] = {
    "`meta-sgd`": ("learner.algorithm=meta-sgd",),
    "`maml`": ("learner.algorithm=maml",),
    "`maml` with `first_order`": ("learner.algorithm=maml", "learner.first_order=true"),
    "`maml++`": ("learner.algorithm=maml++", "learner.multi_step=100"),
    "`anil`": ("learner.algorithm=anil",),
    "`reptile`": ("learner.algorithm=reptile",),
}
BASELINES: tuple[Start, ...] = ("joint_finetuned", "joint", "device_only")
RATES = (0.01, 0.03, 0.1, 0.3)
RECIPES = {"wisdm": "accuracy, %", "parking-forecast": "mean absolute error, normalized"}


class Timed(Silent):
    """Notes the processor seconds of training alone."""

    def __init__(self) -> None:
        self.began = self.training_s = 0.0

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        if phase.startswith("meta"):
            self.began = time.process_time()

    def on_evaluation(self, what: str, done: int, total: int) -> None:
        self.training_s = self.training_s or time.process_time() - self.began


@dataclass(frozen=True)
class Result:
    """One learner at one rate."""

    label: str
    rate: float
    evaluation: Evaluation
    training_s: float

    @property
    def figure(self) -> float:
        """Higher is better."""
        sign = 1 if self.evaluation.higher_is_better else -1
        return sign * sum(curve.judged.mean for curve in self.evaluation.curves if curve.start == "meta")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=RECIPES, metavar="NAME", help="shipped recipes")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as home:
            os.environ["ACCLIMATE_HOME"] = home
            every = list(trained(name, arguments.seeds))
        text = table(name, every)
        print(f"\n{text}\n", flush=True)
        insert(PAGE, name, text)


def trained(name: str, seeds: int) -> Iterator[list[Result]]:
    """For each learner its results by rate; the first trains the joint model too."""
    for number, (label, changes) in enumerate(LEARNERS.items()):
        results = []
        for rate in RATES:
            joint = number == 0 and rate == RATES[0]
            common = (f"learner.inner_lr={rate}", f"evaluation.seeds={seeds}", "training.workers=0")
            recipe = load_recipe(name, (*changes, *common, f"baseline.joint={str(joint).lower()}"))
            timed = Timed()
            outcome = meta_train(recipe, listener=timed)
            assert outcome is not None  # nobody stops it
            results.append(Result(label, rate, outcome.evaluation, timed.training_s / seeds))
        yield results


def table(name: str, every: list[list[Result]]) -> str:
    """Markdown: a row for each learner at its best rate, then the baselines."""
    baselines = every[0][0].evaluation
    few, most = min(baselines.shots), max(baselines.shots)
    lines = [
        f"`{name}`: {RECIPES.get(name, baselines.metric)}, on {len(baselines.tasks)} held-out tasks",
        "",
        f"| | shots: {few} | shots: {most} | worst task | not adapted | rate | training |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]

    def row(evaluation: Evaluation, start: Start, label: str, rest: str) -> str:
        scale, digits = (100, 1) if evaluation.metric == "accuracy" else (1, 3)
        judged = evaluation.curve(start, most).judged
        values = (evaluation.curve(start, few).judged.mean, judged.mean, judged.worst)
        return f"| {label} | {' | '.join(f'{scale * value:.{digits}f}' for value in values)} | {rest} |"

    for results in every:
        best = max(results, key=lambda one: one.figure)
        curve = best.evaluation.curve("meta", most)
        start = curve.points[curve.steps.index(0)].mean
        shown = f"{100 * start:.1f}" if best.evaluation.metric == "accuracy" else f"{start:.3f}"
        rest = f"{shown} | {best.rate:g} | {best.training_s:.1f} s"
        lines.append(row(best.evaluation, "meta", best.label, rest))
    for start_name in BASELINES:
        rate = baselines.curve(start_name, most).setting.get("inner_lr")
        rest = f"| {'' if rate is None else f'{rate:g}'} |"
        lines.append(row(baselines, start_name, LABELS[start_name], rest))
    return "\n".join([*lines, "", _provenance(name, every)])


def _provenance(name: str, every: list[list[Result]]) -> str:
    about, evaluation = machine(), every[0][0].evaluation
    seeds = len(evaluation.seeds)
    return (
        f"_Measured {about['date']} on {about['cores']} cores shared with other work (load {about['load']}), "
        f"{seeds} seed{'' if seeds == 1 else 's'}; training in processor seconds of one thread. "
        f"`python -m bench.learners {name}` makes it again._"
    )


if __name__ == "__main__":
    main()
