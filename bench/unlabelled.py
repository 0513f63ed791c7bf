"""What windows without labels are worth to a device: `python -m bench.unlabelled RECIPE BUNDLE`.

Every device that the recipe holds out to judge on predicts a hundred windows of the first halves of its
classes, and is then judged on the second halves, with `OnlinePolicy(unlabelled=True)` and without. Streams
are of four kinds: runs of one class, classes as unequal as 1 to 1/C, three classes only, one class only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.evaluation.statistics import interval
from acclimate.tasks import TaskPool, stream
from acclimate.training.problem import open_problem
from acclimate.training.recipe_file import load_recipe
from acclimate_device import Device, OnlinePolicy
from acclimate_device.testing import SimulatedFlash

WINDOWS, DRAWS = 100, 2
Halves = dict[int, NDArray[np.float32]]
"""Windows by class."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe", help="whose held-out devices live the streams")
    parser.add_argument("bundle", type=Path, help="a folder that `acclimate export` wrote")
    options = parser.parse_args()
    problem = open_problem(load_recipe(options.recipe))
    assert isinstance(problem.data, TaskPool)
    groups = [problem.data.groups[task] for task in problem.split.test]
    gains: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for task in problem.split.test.tolist():
        first, second = _halves(problem.data, task)
        for kind, order in KINDS.items():
            draws = [_gain(options.bundle, order, first, second, draw) for draw in range(DRAWS)]
            gains[kind].append(float(np.mean(draws)))
    for kind, found in gains.items():
        low, high = interval(100 * np.array(found), groups)
        print(
            f"{kind:20} {100 * np.mean(found):+.2f} points ({low:+.2f} to {high:+.2f}), {len(found)} devices"
        )


def _halves(pool: TaskPool, task: int) -> tuple[Halves, Halves]:
    by_class: dict[int, list[NDArray[np.float32]]] = {}
    for example in stream(pool, task):
        by_class.setdefault(int(example.y), []).append(example.x)
    first = {label: np.stack(xs[: len(xs) // 2]) for label, xs in by_class.items() if len(xs) > 1}
    return first, {label: np.stack(by_class[label][len(by_class[label]) // 2 :]) for label in first}


def _gain(
    folder: Path, order: Callable[..., NDArray[np.int64]], first: Halves, second: Halves, draw: int
) -> float:
    """Accuracy with windows learnt from, less that without; every class counts alike."""
    rng = np.random.default_rng(draw)
    lived = order(np.array(sorted(first)), rng)
    found = []
    for unlabelled in (True, False):
        policy = OnlinePolicy(unlabelled=unlabelled)
        device = Device(
            lambda name: (folder / name).read_bytes(), SimulatedFlash(), policy, clock=lambda: 1e6
        )
        again = np.random.default_rng(draw)
        device.predict_many([first[label][again.integers(len(first[label]))] for label in lived.tolist()])
        labels = device.manifest.output.labels
        hits = [
            np.mean([told == labels[label] for told in device.predict_many(list(xs[:40]))])
            for label, xs in second.items()
        ]
        found.append(float(np.mean(hits)))
    return found[0] - found[1]


def _runs(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    runs = [np.repeat(rng.choice(labels), rng.integers(3, 10)) for _ in range(WINDOWS)]
    return np.concatenate(runs)[:WINDOWS]


def _skewed(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    shares = 1 / np.arange(1, len(labels) + 1)
    return rng.choice(rng.permutation(labels), WINDOWS, p=shares / shares.sum())


def _few(count: int) -> Callable[..., NDArray[np.int64]]:
    return lambda labels, rng: rng.choice(rng.permutation(labels)[:count], WINDOWS)


KINDS: dict[str, Callable[..., NDArray[np.int64]]] = {
    "runs of 3 to 9": _runs,
    "skewed classes": _skewed,
    "three classes only": _few(3),
    "one class only": _few(1),
}


if __name__ == "__main__":
    main()
