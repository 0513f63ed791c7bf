"""How often the gates err, how soon they notice, and how many devices a bad release reaches.

`python -m bench.rollout_gates [--rollouts 2000]`. Every settled device is one look, with the real
tallies and verdicts. The z test at the same looks is printed beside it, as the usual alternative.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from dataclasses import dataclass

from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.plan import DEFAULT_GATES, Wave, gate_alpha
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.domain.tally import Tally
from acclimate.rollout.store import open_store
from tests.support.rollout_samples import a_plan
from tests.support.rollout_world import World, with_harm

PAIRS = 500
Z_95 = 1.6449
RATES = {"failure": 0.02, "silence": 0.03, "drift": 0.1, "kept_start": 0.15}


@dataclass(frozen=True)
class Outcome:
    """One simulated rollout: pairs until the gates, or a z test, called harm; None if never."""

    gates: int | None
    z_test: int | None


def noise(kind: str, rng: random.Random) -> float:
    """A device's loss, with standard deviation 1."""
    if kind == "normal":
        return rng.gauss(1, 1)
    if kind == "heavy":  # Student's t with 3 degrees of freedom, scaled
        return 1 + rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3) / math.sqrt(3)
    return math.exp(rng.gauss(0, 1)) / 2.161  # skewed: log-normal


def simulate(seed: int, kind: str, harm: float, pairs: int = PAIRS) -> Outcome:
    """One rollout with the default gates; each report is a look."""
    rng = random.Random(seed)
    plan = a_plan(gates=DEFAULT_GATES)
    tally = Tally(plan)
    alphas = [gate_alpha(plan, gate.gate) for gate in tally.gates]
    caught = z_caught = None
    for pair in range(1, pairs + 1):
        arms: list[Arm] = ["canary", "control"]
        rng.shuffle(arms)
        for arm in arms:
            loss = noise(kind, rng) + (harm if arm == "canary" else 0.0)
            tally.add(observation(rng, arm, pair, loss))
            looks = zip(tally.gates, alphas, strict=True)
            if caught is None and any(gate.proves_harm(alpha) for gate, alpha in looks):
                caught = pair
        if z_caught is None and pair >= 20 and z_test(tally):
            z_caught = pair
        if caught and (harm or z_caught):
            break
    return Outcome(caught, z_caught)


def observation(rng: random.Random, arm: Arm, order: int, loss: float) -> Observation:
    return Observation(
        "d",
        arm,
        1,
        0.0,
        1,
        "",
        order=order,
        adapted=True,
        paid=rng.random() >= RATES["kept_start"],
        examples=1,
        loss_sum=loss,
        failure=rng.random() < RATES["failure"],
        silence=rng.random() < RATES["silence"],
        drift=rng.random() < RATES["drift"],
    )


def z_test(tally: Tally) -> bool:
    """The ordinary two-sample test on the loss at this look."""
    canary, control = tally.gates[0].canary, tally.gates[0].control
    if min(canary.count, control.count) < 2:
        return False
    error = math.sqrt(canary.deviation**2 / canary.count + control.deviation**2 / control.count)
    return error > 0 and ((canary.mean or 0.0) - (control.mean or 0.0)) / error > Z_95


def exposure(seed: int, devices: int = 10_000) -> tuple[float, int, int]:
    """A release worse by one standard deviation under a real controller: share exposed, canaries, rounds."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/rollout.db")
        world = World(
            store,
            devices,
            with_harm(1.0),
            seed=seed,
            gates=DEFAULT_GATES,
            waves=(Wave(share=0.01, min_devices=20), Wave(share=0.1), Wave(share=0.5)),
            control_share=0.1,
        )
        world.do("start")
        rounds = 0
        while world.rollout.state not in (State.ROLLING_BACK, State.ROLLED_BACK) and rounds < 50:
            world.round()
            rounds += 1
        caught = store.decisions("rollout-1")
        store.close()
    canaries = next((int(one.facts["canaries"]) for one in caught if one.action == "roll_back"), 0)
    return len(world.ever_ran) / devices, canaries, rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=2000)
    parser.add_argument("--fleets", type=int, default=5)
    options = parser.parse_args()
    started = time.perf_counter()
    print(f"{options.rollouts} rollouts without harm, {PAIRS} pairs, a look at every report, alpha 5 %")
    for kind in ("normal", "heavy", "skewed"):
        outcomes = [simulate(seed, kind, 0.0) for seed in range(options.rollouts)]
        wrong = sum(one.gates is not None for one in outcomes) / len(outcomes)
        z_wrong = sum(one.z_test is not None for one in outcomes) / len(outcomes)
        print(
            f"  {kind:7} false roll backs: gates {wrong:.2%}, z test at every pair {z_wrong:.1%}", flush=True
        )
    for harm in (0.25, 0.5, 1.0):
        for kind in ("normal", "heavy", "skewed"):
            outcomes = [simulate(seed, kind, harm) for seed in range(max(20, options.rollouts // 4))]
            pairs = sorted(one.gates or PAIRS + 1 for one in outcomes)
            share = sum(one.gates is not None for one in outcomes) / len(outcomes)
            tenth, ninetieth = pairs[len(pairs) // 10], pairs[9 * len(pairs) // 10]
            print(
                f"  harm of {harm:g} sd, {kind:7}: caught {share:.1%} within {PAIRS} pairs, "
                f"median {statistics.median(pairs):.0f} (10 % {tenth}, 90 % {ninetieth})",
                flush=True,
            )
    print("a release worse by 1 sd on 10,000 devices, first wave 1 %, whole controller:")
    for seed in range(options.fleets):
        share, canaries, rounds = exposure(seed)
        print(
            f"  seed {seed}: {share:.2%} of devices ever ran it ({canaries} canaries seen, {rounds} rounds)"
        )
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
