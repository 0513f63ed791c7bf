"""Drift of the inputs: false alarms by device and month, and how fast shifts are found.

Made streams of four channels, a window every 30 s, seen as a device sees them (every fourth); and recordings,
where ACCLIMATE_DATA_DIR or ../shared/data has them. A shift is put on at random moments of the third week.
`python -m bench.drift [DEVICES]`
"""

from __future__ import annotations

import copy
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate_device.drift import InputShift
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import MANIFEST, Manifest, loads
from acclimate_device.testing import tiny_bundle

Floats = NDArray[np.float64]
DATA = Path(os.environ.get("ACCLIMATE_DATA_DIR", "../shared/data"))
EVERY_S, WATCH, SAMPLES, DAY_S = 30.0, 4, 16, 86_400.0
MONTH_DAYS, SHIFT_DAY = 30, 14


def daily(hours: Floats) -> Floats:
    """From -1 to 1 with the sun."""
    return np.sin(2 * np.pi * (hours - 9) / 24)


CYCLES: dict[str, Callable[[Floats], Floats]] = {
    "stationary": lambda hours: np.zeros_like(hours),
    "daily": daily,
    "daily, in steps": lambda hours: np.where((hours % 24 >= 8) & (hours % 24 < 18), 1.0, -1.0),
    "weekly": lambda hours: np.where(hours % 168 < 120, daily(hours), 0.3 * daily(hours) - 0.5),
    "weekly, in steps": lambda hours: np.where(
        (hours % 168 < 120) & (hours % 24 >= 8) & (hours % 24 < 18), 1.0, -1.0
    ),
}


def windows(level: Floats, seed: int) -> Iterator[Floats]:
    """Windows (4, SAMPLES) at these levels: each channel follows them in its own way, and swings."""
    rng = np.random.default_rng(seed)
    gain, swing = rng.uniform(0.5, 1.5, 4) * rng.choice([-1, 1], 4), rng.uniform(0.2, 0.8, 4)
    base = rng.uniform(-1, 1, 4)
    turns = np.arange(SAMPLES) * 2 * math.pi / SAMPLES
    for value in level:
        phase = rng.uniform(0, 2 * math.pi)
        mean = base + gain * value + rng.normal(0, 0.1, 4)
        yield mean[:, None] + swing[:, None] * np.sin(turns + phase) + rng.normal(0, 0.1, (4, SAMPLES))


def shifted(kind: str, window: Floats, before: Floats, days: float) -> Floats:
    """A window after the shift; `before` is the last one before it."""
    made = window.copy()
    if kind.startswith("scale"):
        made[0] *= float(kind.split()[1])
    elif kind.startswith("offset"):
        made[0] += float(kind.split()[1])
    elif kind == "frozen":
        made[0] = before[0, -1]
    elif kind == "dead":
        made[0] = 0.0
    elif kind == "swapped":
        made[[0, 1]] = made[[1, 0]]
    elif kind == "ageing":
        made[0] = made[0] * (1 + 0.02 * days) + 0.05 * days
    return made


KINDS = ("scale 2", "scale 1.5", "offset 1", "offset 0.5", "frozen", "dead", "swapped")


def month(cycle: Callable[[Floats], Floats], seed: int, schema: Schema) -> tuple[int, dict[str, list[float]]]:
    """Alarms of a quiet month, and the delays in windows of shifts in its third week."""
    times = np.arange(0, MONTH_DAYS * DAY_S, EVERY_S * WATCH) + seed * 3600.0
    rng = np.random.default_rng(seed)
    onsets = {int(rng.uniform(SHIFT_DAY, SHIFT_DAY + 7) * DAY_S / EVERY_S / WATCH) for _ in range(3)}
    detector, alarms = InputShift(), 0
    delays: dict[str, list[float]] = {kind: [] for kind in KINDS}
    made = list(windows(cycle(times / 3600.0), seed))
    for at, (when, window) in enumerate(zip(times, made, strict=True)):
        if at in onsets:
            for kind in KINDS:
                delays[kind].append(delay(copy.deepcopy(detector), schema, kind, made, times, at))
        detector.update(schema.features(window.astype(np.float32)), when)
        alarms += detector.drift_detected
    return alarms, delays


def delay(
    detector: InputShift, schema: Schema, kind: str, made: list[Floats], times: Floats, at: int
) -> float:
    """Windows until the shift is found; infinity if not within a day."""
    for later in range(at, min(at + int(DAY_S / EVERY_S / WATCH), len(made))):
        window = shifted(kind, made[later], made[at - 1], (times[later] - times[at]) / DAY_S)
        detector.update(schema.features(window.astype(np.float32)), times[later])
        if detector.drift_detected:
            return (later - at + 1) * WATCH
    return math.inf


def ageing(cycle: Callable[[Floats], Floats], seed: int, schema: Schema) -> float:
    """Days until a sensor that ages by 2 % and 0.05 units a day from the third week on is found."""
    times = np.arange(0, 2 * MONTH_DAYS * DAY_S, 20 * EVERY_S * WATCH)
    detector = InputShift()
    for when, window in zip(times, windows(cycle(times / 3600.0), seed), strict=True):
        days = when / DAY_S - SHIFT_DAY
        made = shifted("ageing", window, window, days) if days > 0 else window
        detector.update(schema.features(made.astype(np.float32)), when)
        if detector.drift_detected and days > 0:
            return days
    return math.inf


def recordings() -> Iterator[tuple[str, list[tuple[Floats, Floats]]]]:
    """By name: of each device, times in seconds and rows in units of their own spread."""
    import pyarrow.parquet as parquet

    if (path := DATA / "beijing_air12" / "air.parquet").is_file():
        table = parquet.read_table(path).to_pandas()
        columns = ["PM25", "NO2", "O3", "temp_c", "pres_hpa", "wspm"]
        found = []
        for _, rows in table.groupby("station"):
            values = rows[columns].interpolate(limit_direction="both").to_numpy(float)
            found.append((rows["hour_index"].to_numpy(float) * 3600.0, values))
        yield "air, hourly", [(times, _scaled(values)) for times, values in found]


def _scaled(values: Floats) -> Floats:
    scaled: Floats = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    manifest = loads(Manifest, tiny_bundle()[MANIFEST], 10**6)
    schema = Schema(manifest)
    schema._rows = (4, SAMPLES)
    schema._group, schema._average = np.eye(4, dtype=np.float32), np.full(SAMPLES, 1 / SAMPLES, np.float32)
    began = time.process_time()
    print(f"{devices} devices a cycle; false alarms a device-month, then median (worst) delay in windows")
    for name, cycle in CYCLES.items():
        alarms = 0
        delays: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for seed in range(devices):
            one, found = month(cycle, seed, schema)
            alarms += one
            for kind in KINDS:
                delays[kind] += found[kind]
        told = [f"{kind} {statistics.median(all_):.0f} ({max(all_):.0f})" for kind, all_ in delays.items()]
        days = [ageing(cycle, seed, schema) for seed in range(2)]
        print(f"{name:18} {alarms / devices:.2f}  {', '.join(told)}, ageing {max(days):.0f} days", flush=True)
    for name, streams in recordings():
        alarms, months = 0, 0.0
        for times, values in streams:
            detector = InputShift()
            for when, row in zip(times[::WATCH], values[::WATCH], strict=True):
                detector.update(row.tolist(), when)
                alarms += detector.drift_detected
            months += (times[-1] - times[0]) / DAY_S / MONTH_DAYS
        print(f"{name:18} {alarms / months:.2f}  false alarms a device-month over {months:.0f} months")
    print(f"{time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
