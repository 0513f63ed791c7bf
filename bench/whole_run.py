"""A whole sinusoid run by `acclimate train` beside learn2learn's loop, compiling included.

    PYTHONPATH=platform:device_sdk:/path/to/learn2learn-0.2.0 python -m bench.whole_run

`acclimate train sinusoid` runs as a command of its own, with its workers, checkpoints, validation and MLflow;
learn2learn trains the same network on tasks drawn beforehand, for which it is charged nothing, and of its
steps a sample is timed before and after the command and taken times their number. Twice: the job as it is,
with the joint baseline, every rival and the report; and the meta-training alone. See `bench.throughput` for
how learn2learn is built.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from acclimate.tasks import EpisodePlan, open_dataset
from bench.throughput import learn2learn_maml

TASKS, SHOTS, QUERY, INNER_STEPS, INNER_LR = 32, 10, 20, 5, 0.02  # of the shipped recipe
ALONE = ("baseline.joint=false", "evaluation.rivals=false", "evaluation.tasks=20", "evaluation.draws=1")


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall and of processors."""

    wall: float
    cpu: float

    def times(self, factor: float) -> Spent:
        return Spent(self.wall * factor, self.cpu * factor)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    loop = _Theirs(learn2learn_maml())
    results = []
    for name, changes in (("meta-training alone", ALONE), ("the whole job", ())):
        if arguments.only in name:
            results.append(_beside(name, changes, loop, arguments))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=2))


def _beside(name: str, changes: tuple[str, ...], loop: _Theirs, arguments: Any) -> dict[str, Any]:
    factor = arguments.steps / arguments.sample
    before = loop.take(arguments.sample).times(factor)
    ours = _train(changes, arguments.steps, arguments.workers)
    after = loop.take(arguments.sample).times(factor)
    ratios = {
        kind: sorted(getattr(theirs, kind) / getattr(ours, kind) for theirs in (before, after))
        for kind in ("wall", "cpu")
    }
    result = {
        "what": name,
        "steps": arguments.steps,
        "workers": arguments.workers,
        "acclimate_s": [ours.wall, ours.cpu],
        "learn2learn_s": [[before.wall, before.cpu], [after.wall, after.cpu]],
        "ratios": ratios,
        "load": os.getloadavg()[0],
    }
    print(
        f"{name}, {arguments.steps:,} steps: acclimate train {ours.wall:.0f} s wall, {ours.cpu:.0f} s CPU; "
        f"learn2learn {before.wall:.0f} and {after.wall:.0f} s wall, "
        f"{before.cpu:.0f} and {after.cpu:.0f} s CPU; "
        f"ratio {ratios['wall'][0]:.1f} to {ratios['wall'][1]:.1f} by wall, "
        f"{ratios['cpu'][0]:.1f} to {ratios['cpu'][1]:.1f} by CPU; load {result['load']:.1f}",
        flush=True,
    )
    return result


class _Theirs:
    """learn2learn's loop as its examples write it: MAML of second order, Adam, one task after another."""

    def __init__(self, maml: Any) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
        self.maml = maml(network, lr=INNER_LR, first_order=False)
        self.optimizer = torch.optim.Adam(self.maml.parameters(), lr=0.003)
        waves = open_dataset("sinusoid", tasks=5000)
        plan = EpisodePlan(shots=SHOTS, query_shots=QUERY)
        sampler = waves.sampler(np.arange(5000), plan, seed=0)
        self.drawn = [sampler.episodes(step, range(TASKS)) for step in range(50)]

    def take(self, steps: int) -> Spent:
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(steps):
            episodes = self.drawn[step % len(self.drawn)]
            self.optimizer.zero_grad()
            for task in range(TASKS):
                clone = self.maml.clone()
                for _ in range(INNER_STEPS):
                    clone.adapt(F.mse_loss(clone(episodes.support.x[task]), episodes.support.y[task]))
                (F.mse_loss(clone(episodes.query.x[task]), episodes.query.y[task]) / TASKS).backward()
            self.optimizer.step()
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _train(changes: tuple[str, ...], steps: int, workers: int) -> Spent:
    with tempfile.TemporaryDirectory() as home:
        given = (f"training.steps={steps}", f"training.workers={workers}", "training.patience=null", *changes)
        sets = [part for change in given for part in ("--set", change)]
        command = [sys.executable, "-m", "acclimate", "train", "sinusoid", *sets]
        # Compiled code and headers are kept in this folder too: a user's first run finds none.
        kept = {"ACCLIMATE_HOME": home, "TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor", "TMPDIR": home}
        environment = {**os.environ, **kept}
        wall, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, env=environment, cwd=home, stdout=sys.stderr)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Spent(time.perf_counter() - wall, cpu)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=60, help="steps of learn2learn timed at a time")
    parser.add_argument("--workers", type=int, default=0, help="0 trains in one process, as learn2learn does")
    parser.add_argument("--only", default="", help="part of the name of what to run")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
