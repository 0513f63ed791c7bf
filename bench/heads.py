"""What one label costs a device whose heads are solved in closed form: `python -m bench.heads BUNDLE ...`.

Processor microseconds of one thread, the least of many rounds, so that other work on the machine shows
little; the numpy rows are the same updates without a runtime, for comparison.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from acclimate_device.bundle import read_bundle
from acclimate_device.runtime import ClosedFormEngine, Params

ROUNDS, CALLS = 40, 50


def content(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", nargs="+", type=Path, help="folders that `acclimate export` wrote")
    for folder in parser.parse_args().bundles:
        engine = ClosedFormEngine(read_bundle(partial(content, folder)))
        print(f"\n{folder}: {engine.manifest.cost.macs_per_step:,} multiply-adds a label")
        for what, figure in costs(engine).items():
            print(f"  {what:58s} {figure}")


def costs(engine: ClosedFormEngine) -> dict[str, str]:
    """By what is measured."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *engine.manifest.input.shape)).astype(np.float32)
    width = engine.manifest.output.width
    classes = engine.manifest.output.kind == "classification"
    y = np.array([0]) if classes else rng.normal(size=(1, width)).astype(np.float32)
    start = engine.start
    seen, target = engine.features(start, x), engine._target(y)
    given = [*seen.values(), *(start[f"state.{name}"] for name in engine._states), target]
    state = sum(start[name].nbytes for name in engine.moving)
    features_us = least(lambda: engine.features(start, x))
    learn_us = least(lambda: engine._learn(*given))
    return {
        "features.onnx": f"{features_us:.1f} us",
        "learn.onnx": f"{learn_us:.1f} us",
        "one label, both graphs": f"{features_us + learn_us:.1f} us",
        **{
            f"numpy, {head}": f"{least(in_numpy(engine, head, start, seen, target)):.1f} us"
            for head in engine.heads
        },
        "one label with its experts' scores": f"{least(lambda: engine.learn(start, x, y)):.1f} us",
        "one prediction": f"{least(lambda: engine.outputs(start, x)):.1f} us",
        "state of one device": f"{state:,} bytes",
    }


def in_numpy(
    engine: ClosedFormEngine, head: str, params: Params, seen: dict[str, np.ndarray], target: np.ndarray
) -> Callable[[], None]:
    """One head's update as plain numpy."""
    mean, cov = params[f"state.{head}.mean"], params[f"state.{head}.cov"]
    mean0, cov0 = mean.copy(), cov.copy()
    phi, y = (seen["phi"], target - target.mean()) if head == "last" else (target, seen["z"])
    gamma = np.float32(0.99)
    square = gamma * gamma

    def update() -> None:
        kept = mean * gamma + mean0 * (1 - gamma)
        wide = cov * square + cov0 * (1 - square)
        u = phi @ wide
        gain = u.T / (u @ phi.T + 1)
        after = wide - gain @ u
        _ = kept + gain @ (y - phi @ kept), (after + after.T) * 0.5

    return update


def least(call: Callable[[], object]) -> float:
    """Microseconds of one call, the least mean of `ROUNDS` rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time_ns() - began) / CALLS / 1e3)
    return min(rounds)


if __name__ == "__main__":
    main()
