"""How soon training goes on after kill -9, SIGSTOP and the loss of a node; what leaders take off the driver.

    python -m bench.recovery [--actors N] [--turns N]

A shard takes 0.2 s of waiting and 1,800 parameters, so that many real actors fit on few cores. A step is two
shards a worker. Recovery is the time from the blow to the end of the step it falls into, over the usual step.
With --actors the driver's processor time for a result is measured with so many actors of its own, and again
with leaders over them.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial

import ray
import torch
from ray.cluster_utils import Cluster
from torch import Tensor, nn

from acclimate.learners import MetaParams
from acclimate.training.problem import open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.ray_pool import RayPool
from acclimate.training.recipe import Recipe

SHARD_S = 0.2
PHASE = "meta"


class Slow(nn.Module):
    """A small network; each of a shard's two passes waits."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(input_shape[0], 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
        self.head = nn.Linear(40, outputs)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(SHARD_S / 2)
        out: Tensor = self.head(self.body(x))
        return out


RECIPE = Recipe.model_validate(
    {
        "name": "slow",
        "data": {"source": "sinusoid", "options": {"tasks": 200}, "test": 10},
        "model": {"name": "bench.recovery:Slow"},
        "learner": {"inner_steps": 1, "compile": "off"},
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--actors", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray's spelling
    meta = open_problem(RECIPE).start()
    recover(meta, arguments.turns)
    if arguments.actors:
        lead(meta, arguments.actors)


def recover(meta: MetaParams, turns: int) -> None:
    """Two nodes of two workers each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    try:
        with RayPool({PHASE: RECIPE}, 4, cluster.address) as pool:
            ready(pool, 4, meta)
            usual = statistics.median(step(pool, meta, 8) for _ in range(10))
            print(
                f"load {os.getloadavg()[0]:.1f}; 8 shards of {SHARD_S} s on 4 workers: {usual:.2f} s a step"
            )
            for name, blow in (("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
                taken = []
                for _ in range(turns):
                    taken.append(step(pool, meta, 8, partial(os.kill, pool.pids()[0], blow)))
                    ready(pool, 4, meta)
                told(f"{name} of a worker", taken, usual)
            gone = nodes.pop()
            told("loss of a node", [step(pool, meta, 8, lambda: cluster.remove_node(gone, False))], usual)
            after = statistics.median(step(pool, meta, 8) for _ in range(5))
            print(f"on the two workers that are left a step takes {after / usual:.1f}x as long")
    finally:
        ray.shutdown()
        cluster.shutdown()


def lead(meta: MetaParams, actors: int) -> None:
    """The driver's work with and without leaders."""
    for group, name in ((actors, "its own"), (max(1, actors // 8), "led")):
        with connected(None, actors), RayPool({PHASE: RECIPE}, actors, group=group) as pool:
            ready(pool, len(pool.pids()) if group < actors else actors, meta, actors)
            processor, seconds = time.process_time(), []
            for _ in range(10):
                seconds.append(step(pool, meta, actors))
            processor = (time.process_time() - processor) / 10
            print(
                f"{actors} actors, {name}: a step of one shard each {statistics.median(seconds):.2f} s "
                f"({SHARD_S} s at best), of the driver {1e3 * processor:.1f} ms, "
                f"{1e3 * processor / actors:.2f} ms a shard"
            )


def ready(pool: RayPool, workers: int, meta: MetaParams, shards: int = 8) -> None:
    """Until all run and have answered."""
    while len(pool.pids()) < workers:
        time.sleep(0.2)
    for _ in range(3):
        step(pool, meta, shards)


def step(pool: RayPool, meta: MetaParams, shards: int, blow: Callable[[], object] | None = None) -> float:
    """Seconds of a step, into whose middle the blow falls."""
    begun = time.perf_counter()
    if blow is not None:
        threading.Timer(SHARD_S / 2, blow).start()
    with torch.no_grad():
        pool.compute(PHASE, meta, 0, [[2 * shard, 2 * shard + 1] for shard in range(shards)])
    return time.perf_counter() - begun


def told(name: str, taken: list[float], usual: float) -> None:
    ratios = [each / usual for each in taken]
    print(f"{name}: {statistics.median(ratios):.1f}x a step ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
