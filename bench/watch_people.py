"""Every person of `watch` held out once: the shipped recipe against its baselines, by person.

The demo's table rests on three people and cannot tell small differences from luck. Here the ten people are
held out two at a time, with the recipe as it is shipped. The person is the unit: both arms are averaged
first, and gains are paired by person. Baselines choose their step size on the held-out tasks themselves, in
their favour.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from acclimate.evaluation.statistics import interval

PEOPLE = 10
TOGETHER = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write every person's figures to this JSON file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    options = parser.parse_args()
    people: dict[str, dict[str, float]] = {}
    for first in range(1, PEOPLE + 1, TOGETHER):
        held_out = [f"person-{number:02d}" for number in range(first, first + TOGETHER)]
        people |= _by_person(_train(held_out, options.set))
        print(f"held out {', '.join(held_out)}: done", file=sys.stderr, flush=True)
    _print(people)
    if options.out:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = {"cpu_s": round(used.ru_utime + used.ru_stime, 1), "people": people}
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def _train(held_out: list[str], changes: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "acclimate", "train", "watch", "--json"]
        for change in [f"data.test_groups={json.dumps(held_out)}", *changes]:
            command += ["--set", change]
        done = subprocess.run(
            command, env=os.environ | {"ACCLIMATE_HOME": home}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    evaluation: dict[str, Any] = json.loads(done.stdout)["evaluation"]
    return evaluation


def _by_person(evaluation: dict[str, Any]) -> dict[str, dict[str, float]]:
    arms: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for curve in evaluation["curves"]:
        if curve["shots"] == evaluation["policy_shots"]:
            values = curve["points"][curve["chosen"]]["values"]
            for task, value in zip(evaluation["tasks"], values, strict=True):
                arms[task.rpartition("-")[0]][curve["start"]].append(value)
    return {person: {start: mean(each) for start, each in starts.items()} for person, starts in arms.items()}


def _print(people: dict[str, dict[str, float]]) -> None:
    starts = list(next(iter(people.values())))
    print(f"{'accuracy, %':<18}" + "".join(f"{start:>18}" for start in starts))
    for person, figures in sorted(people.items()):
        print(f"{person:<18}" + "".join(f"{100 * figures[start]:>18.1f}" for start in starts))
    columns = {start: 100 * np.array([figures[start] for figures in people.values()]) for start in starts}
    print(f"{'mean':<18}" + "".join(f"{columns[start].mean():>18.1f}" for start in starts))
    print(f"{'worst person':<18}" + "".join(f"{columns[start].min():>18.1f}" for start in starts))
    for start in starts:
        if start != "meta":
            gain = columns["meta"] - columns[start]
            low, high = interval(gain)
            print(
                f"meta against {start}: {gain.mean():+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}, "
                f"better or equal for {int((gain >= 0).sum())} of {len(gain)} people"
            )


if __name__ == "__main__":
    main()
