"""Scaling of the task workers: 1 against 2 real ones, and what the measured costs mean for up to 1,000.

    python -m bench.scaling

Two pools, one of 1 and one of 2 workers, take turns at the same steps of conv1d on the smartwatch recordings.
On a shared machine wall time says as much about the neighbours as about us, so beside it stands what the
processors were used for: a step ends when its busiest worker and the driver have done their part, on cores
of their own no later than after both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from acclimate.learners import MetaParams
from acclimate.training.loop import shards_of
from acclimate.training.problem import open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.ray_pool import GROUP, RayPool
from acclimate.training.recipe_file import load_recipe

TICKS = os.sysconf("SC_CLK_TCK")
# The driver's part of a result of 1,800 parameters, at 16 workers and more.
SMALL_RESULT_S, SMALL_BYTES = 0.5e-3, 7_200
CHANGES = ("training.meta_batch=16", "training.shard=4", "model.options.filters=64", "learner.inner_steps=1")


@dataclass(frozen=True)
class Turn:
    """Seconds a step: on the wall, of the busiest worker, and of the driver."""

    wall_s: float
    worker_s: float
    driver_s: float

    @property
    def alone_s(self) -> float:
        """On cores of their own."""
        return self.worker_s + self.driver_s


@dataclass(frozen=True)
class Costs:
    """What the model to 1,000 workers is made of.

    Attributes:
        shard_s: a worker's time for a shard.
        result_s: the driver's time for a result: receive, add up.
        step_s: the driver's time for a step besides: put the parameters, clip, take the outer step.
        parameter_bytes: of the meta-parameters; a gradient has as many.
        link_bytes_s: of a node's network link.
        hop_s: network round trip.
        group: workers of a leader, see `ray_pool`; 0: the driver has no leaders.
    """

    shard_s: float
    result_s: float
    step_s: float
    parameter_bytes: int
    link_bytes_s: float = 1.25e9  # 10 Gbit/s
    hop_s: float = 0.5e-3
    group: int = GROUP

    def step(self, workers: int, shards: int) -> float:
        """Seconds a step takes: parameters out along a tree, shards in rounds, results in one by one."""
        if not self.group or workers <= 2 * self.group:
            return self._flat(workers, shards)
        leaders = math.ceil(workers / self.group)
        # A leader takes a block as the driver would take a step of so many shards.
        block = replace(self, step_s=0.0)._flat(math.ceil(workers / leaders), math.ceil(shards / leaders))
        return replace(self, shard_s=block)._flat(leaders, leaders)

    def _flat(self, workers: int, shards: int) -> float:
        transfer = self.parameter_bytes / self.link_bytes_s
        out = math.ceil(math.log2(workers + 1)) * (self.hop_s + transfer)
        compute = math.ceil(shards / workers) * self.shard_s
        # Results of earlier rounds are added up while later ones are computed; the last round's are not.
        last = min(workers, shards) * (self.result_s + transfer)
        earlier = max(0.0, (shards - workers) * (self.result_s + transfer) - (compute - self.shard_s))
        return self.step_s + out + compute + self.hop_s + last + earlier

    def efficiency(self, workers: int, shards: int) -> float:
        """Speed with `workers` over `workers` times the speed with one."""
        return self.step(1, shards) / (workers * self.step(workers, shards))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    recipe = load_recipe("watch", CHANGES)
    problem = open_problem(recipe)
    meta = problem.start()
    shards = shards_of(recipe.training)
    # Ray would put its workers 15 behind everything else on the machine.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray's spelling
    with connected(None, 3), RayPool({"meta": recipe}, 1) as one, RayPool({"meta": recipe}, 2) as two:
        for pool in (one, two):
            while len(pool.pids()) < (1 if pool is one else 2):
                time.sleep(0.2)
            turn(pool, meta, shards, 2)  # opens the data, builds the network
        turns = [
            (turn(one, meta, shards, arguments.steps), turn(two, meta, shards, arguments.steps))
            for _ in range(arguments.turns)
        ]
    load = os.getloadavg()[0]
    bytes_ = sum(tensor.numel() * tensor.element_size() for tensor in meta.values())
    wall = [a.wall_s / (2 * b.wall_s) for a, b in turns]
    alone = [a.alone_s / (2 * b.alone_s) for a, b in turns]
    shard_s = statistics.median(a.worker_s for a, _ in turns) / len(shards)
    driver_s = statistics.median(b.driver_s for _, b in turns)
    costs = Costs(shard_s, driver_s / len(shards), 0.0, bytes_)
    tasks = f"{len(shards)} shards of {recipe.training.shard} tasks"
    print(f"conv1d, 64 filters, {tasks}, {bytes_ / 1e3:.0f} kB of parameters, load {load:.1f}")
    print(f"efficiency 1 -> 2 workers, wall:         {spread(wall)}")
    print(f"efficiency 1 -> 2 workers, cores' own:   {spread(alone)}")
    print(
        f"a shard {shard_s * 1e3:.1f} ms, the driver {driver_s * 1e3:.2f} ms a step ({len(shards)} results)"
    )
    print("\nmodel, efficiency by workers:      1     10    100  1,000")
    small = Costs(0.2, SMALL_RESULT_S, 0.0, SMALL_BYTES)
    table = {
        "small: 0.2 s and 7 kB, one shard each": [small.efficiency(n, n) for n in (1, 10, 100, 1000)],
        "the same, no leaders": [replace(small, group=0).efficiency(n, n) for n in (1, 10, 100, 1000)],
    } | {
        f"{per} shard(s) a worker, {factor:g}x the work a shard": [
            Costs(shard_s * factor, costs.result_s, 0.0, bytes_).efficiency(n, per * n)
            for n in (1, 10, 100, 1000)
        ]
        for per in (1, 4)
        for factor in (1, 10)
    }
    for name, row in table.items():
        print(f"{name:42s} " + "  ".join(f"{value:5.0%}" for value in row))
    if arguments.out:
        figures = {
            "turns": [[asdict(each) for each in pair] for pair in turns],
            "costs": asdict(costs),
            "load": load,
        }
        arguments.out.write_text(json.dumps({**figures, "model": table}, indent=2))


def turn(pool: RayPool, meta: MetaParams, shards: list[list[int]], steps: int) -> Turn:
    """Take `steps` steps' worth of shards."""
    pids = pool.pids()
    compute = partial(pool.compute, "meta")
    workers, driver, began = [cpu_s(pid) for pid in pids], time.process_time(), time.perf_counter()
    for step in range(steps):
        compute(meta, step, shards)
    wall, used = time.perf_counter() - began, time.process_time() - driver
    busiest = max(cpu_s(pid) - before for pid, before in zip(pids, workers, strict=True))
    return Turn(wall / steps, busiest / steps, used / steps)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0%} ({min(values):.0%} to {max(values):.0%}, {len(values)} turns)"


if __name__ == "__main__":
    main()
