"""One simulated week of ten thousand devices: how long it takes, and where the time goes.

    python -m bench.simulated_week [--devices 10000] [--days 7] [--processes N] [--profile]

Every device is the real SDK: it enrols with its own key, predicts and learns, polls, reports, downloads and
verifies a new version from the signed repository in the middle of the week, and adapts it. The devices are
divided over processes; the service is the real one in this process (SQLite in memory-backed files,
controller, gates, ASGI application) on a simulated clock. Battery-powered devices: two predictions a day, one
label in two, two polls and reports a day.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import time
from collections import Counter
from contextlib import nullcontext
from types import FrameType

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
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that devices live in")
    parser.add_argument("--profile", action="store_true", help="say where the time goes, in one process")
    options = parser.parse_args()
    scenario = week(options.devices, options.days)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, shared")
    marks = Marks()
    profile = Profile() if options.profile else None
    processes = 1 if profile else options.processes
    started, cpu = time.perf_counter(), cpu_s()
    with profile or nullcontext():
        outcome = simulate(scenario, None, marks, processes=processes)
    wall, cpu = time.perf_counter() - started, cpu_s() - cpu
    tell(outcome, wall, cpu, marks, started)
    if profile:
        profile.tell(cpu / len(outcome.devices) * 1000)


def cpu_s() -> float:
    """Of this process and of those that it started and that ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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


class Profile:
    """CPU by room, sampled: where this process is each time it has used two milliseconds more.

    A sample counts for the room of the innermost file that belongs to one.
    """

    def __init__(self) -> None:
        self._samples: Counter[str] = Counter()

    def __enter__(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, 0.002, 0.002)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)

    def tell(self, device_ms: float) -> None:
        """Print the rooms, and the milliseconds that a device spends in each."""
        whole = self._samples.total()
        for room, samples in self._samples.most_common():
            print(f"  {samples / whole:6.1%}  {samples / whole * device_ms:6.2f} ms a device  {room}")

    def _sample(self, _signal: int, frame: FrameType | None) -> None:
        room = None
        while frame is not None and room is None:
            file = frame.f_code.co_filename
            room = next((room for part, room in ROOMS.items() if part in file), None)
            frame = frame.f_back
        self._samples[room or "the rest of Python"] += 1


if __name__ == "__main__":
    main()
