"""Starting with 100,000 devices: seconds until every one can be answered, and memory for them.

`python -m bench.rollout_start [--devices 100000] [--rounds 3]`. Each round is a fresh process, so that
its memory is its own; half of the devices have attributes that no other has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from acclimate.rollout.domain.assignment import assign
from acclimate.rollout.store import open_store
from tests.support.rollout_samples import NOW, OLD, a_device, a_fleet, a_rollout


def fill(url: str, devices: int) -> None:
    store = open_store(url)
    store.add_fleet(a_fleet(), "bench")
    store.set_baseline("home", "", OLD, NOW, "bench")
    for first in range(0, devices, 10_000):
        some = [
            a_device(number, attributes={"site": "A", "serial": number if number % 2 else 0})
            for number in range(first, min(first + 10_000, devices))
        ]
        store.add_devices(some, NOW, "bench")
    store.add_rollout(a_rollout(), "bench")
    store.close()


def measure(url: str) -> dict[str, float]:
    """In a fresh process: open, load, and answer every device once."""
    store = open_store(url)
    before = _resident()
    started = time.perf_counter()
    [changes] = store.changes({})
    members = {member.id: member for member in changes.members}
    loaded = time.perf_counter() - started
    held = _resident() - before
    started = time.perf_counter()
    for member in members.values():
        assign(changes.fleet, changes.live, member.id, member.attributes, member.revision)
    answered = (time.perf_counter() - started) / len(members)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    started = time.perf_counter()
    for _ in range(100):
        store.changes({"home": changes.fleet.revision})
    refresh = (time.perf_counter() - started) / 100
    store.close()
    return {
        "load_s": loaded,
        "held_mb": held,
        "peak_mb": peak,
        "us": answered * 1e6,
        "refresh_ms": refresh * 1e3,
    }


def _resident() -> float:
    """Mebibytes."""
    with open("/proc/self/statm", encoding="utf-8") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rollout.db"
        fill(url, options.devices)
        command = [sys.executable, "-m", "bench.rollout_start", "--measure", url]
        found = [json.loads(subprocess.check_output(command)) for _ in range(options.rounds)]
    print(f"{options.devices} devices, SQLite, load average {os.getloadavg()[0]:.1f}")
    for name, unit in (
        ("load_s", "s to load"),
        ("held_mb", "MB held"),
        ("peak_mb", "MB at the peak"),
        ("us", "us an assignment"),
        ("refresh_ms", "ms a refresh without news"),
    ):
        values = [one[name] for one in found]
        print(f"  {statistics.median(values):8.2f} {unit} ({min(values):.2f}..{max(values):.2f})")


if __name__ == "__main__":
    main()
