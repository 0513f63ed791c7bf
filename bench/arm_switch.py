"""A person moves the watch to the other arm: `python -m bench.arm_switch [REFERENCE] [-o PICTURE]`.

Needs a registered version (`acclimate train watch`); only people it was not trained on take part, in both
directions. Each repeats a circuit of the exercises: the recorded windows of each exercise in time order,
without overlap, the exercises taking turns. The watch moves at the middle; every window is predicted first
and its label given afterwards. Three devices live the same stream:

* full: adapts, watches its loss and its inputs, resets on drift of either and adapts again;
* no detector: adapts on and on, but responds to nothing;
* neither: adapts to the first 35 windows and stays so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.bundle.expectation import expected_curve
from acclimate.bundle.export import build_bundle
from acclimate.bundle.registered import bundle_of
from acclimate.initialization import Initialization
from acclimate.registry import Registry
from acclimate.tasks import TaskPool, open_dataset, split_tasks, stream
from acclimate.training.recipe_file import load_recipe
from acclimate_device import Device, OnlinePolicy
from acclimate_device.drift import InputShift
from acclimate_device.protocol import Release
from acclimate_device.testing import SimulatedFlash

EACH = 22  # windows of each exercise on each arm: what the shortest recording of most people gives
SMOOTH = 21
POLICIES = {
    "full": OnlinePolicy(on_input_shift="reset", watch_every=1),
    "no detector": OnlinePolicy(on_warning="report", on_drift="report"),
    "neither": OnlinePolicy(on_warning="report", on_drift="report"),
}
LEARNS_FOR = {"neither": 35}
Example = tuple[NDArray[np.float32], str]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("reference", nargs="?", default="watch", help="a version, or a folder of one")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/arm-switch.png"))
    options = parser.parse_args()
    files = _bundle(options.reference)
    recipe = load_recipe("watch")
    pool = open_dataset("watch")
    assert isinstance(pool, TaskPool)
    split = split_tasks(
        pool, test=recipe.data.test, validation=recipe.data.validation, seed=recipe.data.split_seed
    )
    held_out = {pool.task_ids[task] for task in split.test}
    hits: dict[str, list[list[bool]]] = {name: [] for name in POLICIES}
    found: list[int] = []
    for before, after in _directions(held_out):
        first, second = _circuit(pool, before), _circuit(pool, after)
        for name, policy in POLICIES.items():
            line, drifts = _live(files, policy, first + second, LEARNS_FOR.get(name))
            hits[name].append(line)
            if name == "full":
                found += [at - len(first) for at in drifts]
                print(f"{before} -> {after}: {len(first)} + {len(second)} windows, drift at {drifts}")
    _print(hits)
    _plot(hits, found, options.output)


def _bundle(reference: str) -> Mapping[str, bytes]:
    """Of a registered version, or of a folder with the files of one, evaluation included."""
    if not Path(reference).is_dir():
        return bundle_of(Registry.open(None), reference).files
    initialization = Initialization.load(Path(reference))
    evaluation = json.loads((Path(reference) / "evaluation.json").read_text("utf-8"))
    release = Release("watch", 1, initialization.content_hash())
    expected = expected_curve(evaluation, initialization.adaptation.shots)
    return build_bundle(initialization, release, expected=expected).files


def _directions(tasks: set[str]) -> Iterator[tuple[str, str]]:
    for task in sorted(tasks):
        person, _, arm = task.rpartition("-")
        other = f"{person}-{'left' if arm == 'right' else 'right'}"
        if other in tasks:
            yield task, other


def _circuit(pool: TaskPool, task: str) -> list[Example]:
    labels, window = pool.schema.labels, pool.schema.window
    by_label: dict[str, list[Example]] = {label: [] for label in labels}
    last = dict.fromkeys(labels, -window)
    for example in stream(pool, pool.index(task)):
        label = labels[int(example.y)]
        if example.row - last[label] >= window:
            last[label] = example.row
            by_label[label].append((example.x, label))
    turns = zip_longest(*(examples[:EACH] for examples in by_label.values()))
    return [example for turn in turns for example in turn if example is not None]


def _live(
    files: Any, policy: OnlinePolicy, examples: list[Example], learns_for: int | None
) -> tuple[list[bool], list[int]]:
    # a block is one round of the seven exercises; eight rounds are the reference
    inputs = InputShift(block=7, reference=8)
    device = Device(files.get, SimulatedFlash(), policy, input_shift=inputs, clock=lambda: 0.0)
    line, drifts = [], []
    for number, (x, label) in enumerate(examples):
        line.append(device.predict_one(x) == label)
        if learns_for is None or number < learns_for:
            before = device._life.recorder.drifts
            device.learn_one(x, label)
            if device._life.recorder.drifts > before:
                drifts.append(number)
    return line, drifts


def _aligned(hits: list[list[bool]], half: int) -> NDArray[np.float64]:
    """Moving averages around the switch, which is at each stream's middle."""
    kernel = np.ones(SMOOTH) / SMOOTH
    rows = []
    for line in hits:
        middle = len(line) // 2
        smooth = np.convolve(np.asarray(line[middle - half : middle], float), kernel, "valid")
        after = np.convolve(np.asarray(line[middle : middle + half], float), kernel, "valid")
        rows.append(np.concatenate([smooth, after]))
    return np.asarray(rows)


def _halves(line: list[bool]) -> dict[str, float]:
    middle = len(line) // 2
    return {
        "before": float(np.mean(line[35:middle])),
        "first 21 after": float(np.mean(line[middle : middle + 21])),
        "rest": float(np.mean(line[middle + 42 :])),
    }


def _print(hits: dict[str, list[list[bool]]]) -> None:
    print(f"\naccuracy over {len(hits['full'])} moves     before   first 21 after   from the 43rd on (worst)")
    for name, lines in hits.items():
        parts = [_halves(line) for line in lines]
        mean = {key: np.mean([part[key] for part in parts]) for key in parts[0]}
        worst = min(part["rest"] for part in parts)
        print(
            f"{name:28} {mean['before']:8.3f} {mean['first 21 after']:16.3f} "
            f"{mean['rest']:16.3f} ({worst:.3f})"
        )


def _plot(hits: dict[str, list[list[bool]]], found: list[int], output: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    half = min(len(line) // 2 for lines in hits.values() for line in lines)
    span = half - SMOOTH + 1
    figure, axes = plt.subplots(figsize=(9, 4.8), layout="constrained")
    styles = {"full": ("#0b6e4f", 2.6), "no detector": ("#c98a00", 1.8), "neither": ("#a4262c", 1.8)}
    titles = {
        "full": "detects, resets, adapts again",
        "no detector": "adapts on, detects nothing",
        "neither": "adapted once, does neither",
    }
    ends_before, ends_after = np.arange(SMOOTH - half, 1), np.arange(SMOOTH, half + 1)
    for name, lines in hits.items():
        rows = _aligned(lines, half)
        colour, width = styles[name]
        mean, error = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(len(rows))
        for ends, part in ((ends_before, slice(0, span)), (ends_after, slice(span, None))):
            axes.plot(ends, mean[part], color=colour, lw=width, label=titles[name] if ends[0] > 0 else None)
            axes.fill_between(
                ends, (mean - error)[part], (mean + error)[part], color=colour, alpha=0.12, lw=0
            )
    axes.axvline(0, color="#333333", ls="--", lw=1)
    axes.annotate("watch moves to the other arm", (0, 0.52), (2, 0.52), color="#333333")
    after = [at for at in found if 0 <= at <= half]
    axes.plot(after, [0.55] * len(after), "v", color=styles["full"][0], ms=7, label="drift found")
    axes.set(
        xlabel=f"windows of 2 s since the move (accuracy of the last {SMOOTH})",
        ylabel="accuracy",
        ylim=(0.5, 1.005),
        xlim=(SMOOTH - half, half + 1),
        title=f"People never trained on move the watch: {len(hits['full'])} moves, mean and standard error",
    )
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=130)
    print(f"\npicture: {output}")


if __name__ == "__main__":
    main()
