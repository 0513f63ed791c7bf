"""One simulated week of ten thousand devices: how long it takes, and where the time goes.

    python -m bench.simulated_week [--devices 10000] [--days 7] [--profile]

Every device is the real SDK: it enrols with its own key, predicts and learns, polls, reports, downloads and
verifies a new version from the signed repository in the middle of the week, and adapts it. The service is the
real one in this process (SQLite in memory-backed files, controller, gates, ASGI application) on a simulated
clock. Battery-powered devices: two predictions a day, one label in two, two polls and reports a day.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import platform
import pstats
import resource
import time
from contextlib import nullcontext

from acclimate.simulation import Happening, Outcome, Scenario, simulate

ROOMS = {
    "acclimate_device/agent": "agent: enrol, poll, download, verify",
    "acclimate_device/online": "adapt, predict, versions",
    "acclimate_device/runtime": "inference runtime",
    "acclimate_device/telemetry": "reports and their queue",
    "acclimate_device/storage": "slots and records",
    "acclimate_device/testing": "flash in memory",
    "acclimate_device/protocol": "wire formats",
    "acclimate_device/drift": "drift detectors",
    "acclimate/rollout": "service: api, store, controller",
    "acclimate/simulation": "simulation itself",
    "onnxruntime": "inference runtime",
    "sqlalchemy": "SQL",
    "sqlite3": "SQL",
    "tuf": "TUF metadata",
    "securesystemslib": "TUF metadata",
    "cryptography": "signatures",
    "starlette": "HTTP framework",
    "anyio": "threads of the HTTP framework",
    "asyncio": "event loop",
    "json": "JSON",
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--profile", action="store_true", help="say where the time goes (twice as slow)")
    options = parser.parse_args()
    scenario = week(options.devices, options.days)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, shared")
    marks = Marks()
    profile = cProfile.Profile() if options.profile else None
    started, cpu = time.perf_counter(), time.process_time()
    with profile or nullcontext():
        outcome = simulate(scenario, None, marks)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    tell(outcome, wall, cpu, marks, started)
    if profile:
        by_room(profile)


def week(devices: int, days: float) -> Scenario:
    """A quiet week with one update."""
    plan = {"silence_s": 4 * 86_400, "control_share": 0.1, "gates": [{"metric": "failure"}]}
    rollout = {"version": 2, "at": days * 86_400 / 3, "waves": "10%, 100%", "min_devices": 10, "plan": plan}
    return Scenario.model_validate(
        {
            "name": "week",
            "devices": devices,
            "duration": days * 86_400,
            "stream": {"every": "12h"},
            "arrivals": {"over": "6h"},
            "labels": {"share": 0.5},
            "policy": {"every": 4},
            "rollouts": [rollout],
            "service": {"poll": "12h", "tick": "1h"},
        }
    )


class Marks:
    """Wall time at which the fleet was complete and the rollout began."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def __call__(self, happening: Happening) -> None:
        if happening.kind in ("enrolled", "rollout"):
            name = "enrolled" if happening.kind == "enrolled" else happening.detail.partition(",")[0]
            self.at[name] = time.perf_counter()


def tell(outcome: Outcome, wall: float, cpu: float, marks: Marks, started: float) -> None:
    """The figures."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    days, count = outcome.duration_s / 86_400, len(outcome.devices)
    print(f"{count} devices, {days:g} days: {wall:.1f} s wall, {cpu:.1f} s CPU, {memory:.0f} MiB")
    print(f"  {cpu / count * 1000:.1f} ms CPU a device, {outcome.duration_s / wall:,.0f} times real time")
    made = outcome.made()
    print(f"  {outcome.requests} requests, {made['predictions']:.0f} predictions, {outcome.versions()}")
    print(f"  {outcome.acknowledged} reports acknowledged, {outcome.counted['reports']:.0f} counted")
    for name, at in marks.at.items():
        print(f"  {at - started:7.1f} s  {name}")


def by_room(profile: cProfile.Profile) -> None:
    """CPU by room: each function's own time, under the first name its file matches."""
    totals: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        text = name if file == "~" else file
        room = next((room for part, room in ROOMS.items() if part in text), "the rest of Python")
        totals[room] = totals.get(room, 0.0) + own
    whole = sum(totals.values())
    for room, seconds in sorted(totals.items(), key=lambda pair: -pair[1]):
        print(f"  {seconds / whole:6.1%}  {seconds:7.1f} s  {room}")


if __name__ == "__main__":
    main()
