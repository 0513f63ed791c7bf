"""The device's figures: `python -m bench.device [PART ...]`; without parts, all of them.

install, memory, start: fresh processes and a fresh environment. step: one adaptation step and one learnt
example beside torch eager and river, interleaved. cuts, flips: exhaustive power cuts and tampering, counted.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from acclimate_device import Device, OnlinePolicy
from acclimate_device.runtime import GradientEngine
from acclimate_device.testing import TORN, GestureDevice, SimulatedFlash, tiny_bundle

ROOT = Path(__file__).parents[1]
ROUNDS = 9


def main() -> None:
    parts: dict[str, Callable[[], None]] = {
        "install": install,
        "memory": memory,
        "start": start,
        "step": step,
        "cuts": cuts,
        "flips": flips,
    }
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start: shared machine, upper bounds\n")
    for name in sys.argv[1:] or parts:
        parts[name]()
        print()


def install() -> None:
    """Bytes on disk in a fresh virtual environment, without pip and .pyc files."""
    for extra in ("", "[gateway]"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [f"{folder}/bin/python", "-m", "pip"]
            site = next(Path(folder).glob("lib/python*/site-packages"))
            before = _bytes(site)
            source = f"{ROOT / 'device_sdk'}{extra}"
            subprocess.run([*pip, "install", "--quiet", "--no-compile", source], check=True)
            listed = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True).stdout
            packages = [one["name"] for one in json.loads(listed) if one["name"] not in ("pip", "setuptools")]
            size = (_bytes(site) - before) / 1e6
            print(f"install acclimate-device{extra}: {size:.2f} MB, {len(packages)} packages: {packages}")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


MEMORY = """
import resource, sys
def rss():
    with open("/proc/self/statm") as f: return int(f.read().split()[1]) * resource.getpagesize() / 1e6
bare = rss()
import acclimate_device.protocol, acclimate_device.drift, acclimate_device.telemetry, acclimate_device.storage
core = rss()
import acclimate_device.agent
agent = rss()
print(f"rss: bare interpreter {bare:.1f} MB, core {core:.1f}, core and agent {agent:.1f}")
"""

STEPS = """
import resource, sys
def rss():
    with open("/proc/self/statm") as f: return int(f.read().split()[1]) * resource.getpagesize() / 1e6
import numpy as np
with_numpy = rss()
import itertools, tempfile, time
from acclimate_device import Device
from acclimate_device.storage import FileFlash
from acclimate_device.testing import GestureDevice, tiny_bundle
imported = rss()
clock = itertools.count(0)
device = Device(tiny_bundle().get, FileFlash(tempfile.mkdtemp()))
made = [(np.asarray(x, np.float32), y) for x, y in GestureDevice(1).examples(1000)]
began = time.perf_counter()
marks = {}
for step in range(1_000_000):
    x, y = made[step % 1000]
    device.predict_one(x)
    if step % 20 == 0:
        device.learn_one(x, y)
    if step % 1000 == 0:
        device.tick()
    if step + 1 in (20_000, 100_000, 1_000_000):
        marks[step + 1] = rss()
took = time.perf_counter() - began
print(f"rss: numpy {with_numpy:.1f} MB, numpy + onnxruntime + sdk {imported:.1f}; after predictions, with a "
      f"label for every 20th: {', '.join(f'{n:,}: {m:.1f}' for n, m in marks.items())} MB; {took:.0f} s")
"""


def memory() -> None:
    """Resident bytes after import and after 10^6 predictions with 50,000 labels among them."""
    for script in (MEMORY, STEPS):
        print(_run(script).strip())


COLD = """
import time, sys
began = time.perf_counter()
from acclimate_device import Device
from acclimate_device.testing import GestureDevice, tiny_bundle
from acclimate_device.storage import FileFlash
imported = time.perf_counter()
device = Device(tiny_bundle().get, FileFlash(sys.argv[1]))
x, _ = GestureDevice(1).example()
device.predict_one(x)
print(f"{imported - began:.3f} {time.perf_counter() - began:.3f}")
"""


def start() -> None:
    """From the first import to the first prediction, with saved state on flash."""
    with tempfile.TemporaryDirectory() as folder:
        times = [tuple(map(float, _run(COLD, folder).split())) for _ in range(ROUNDS)]
    imports, whole = zip(*times, strict=True)
    print(f"cold start: {_spread(whole, 1000)} ms to a prediction, imports {_spread(imports, 1000)} of it")


def step() -> None:
    """One gradient step of the tiny model over 12 examples, and one whole learn_one, beside peers."""
    import river.forest
    import river.linear_model
    import torch
    from torch.func import functional_call

    torch.set_num_threads(1)
    device = Device(tiny_bundle().get, SimulatedFlash(), policy=OnlinePolicy(on_warning="report"))
    stream = [(np.asarray(x, np.float32), y) for x, y in GestureDevice(1).examples(200)]
    rows = [({str(i): float(v) for i, v in enumerate(x.ravel())}, y) for x, y in stream]
    for x, y in stream[:40]:
        device.learn_one(x, y)
    active = device._life.active
    engine, support = active.running.engine, device._life.learner._support
    assert isinstance(engine, GradientEngine)
    assert support is not None
    batch = support.batches(12)[0]
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(24, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
    )
    params = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    x_torch, y_torch, w_torch = map(torch.from_numpy, (batch.x, batch.y, batch.w))

    def eager() -> None:
        losses = torch.nn.functional.cross_entropy(
            functional_call(network, params, (x_torch,)), y_torch, reduction="none"
        )
        gradients = torch.autograd.grad((losses * w_torch).sum() / w_torch.sum(), list(params.values()))
        with torch.no_grad():
            [value - 0.2 * gradient for value, gradient in zip(params.values(), gradients, strict=True)]

    softmax, forest = river.linear_model.SoftmaxRegression(), river.forest.ARFClassifier(seed=1)
    turn = iter(range(10**9))
    normalized = active.schema.normalize(stream[0][0])[None]
    contenders: dict[str, tuple[Callable[[], object], int]] = {
        "acclimate: one gradient step, 12 examples": (lambda: engine.step(engine.start, batch, 0), 2000),
        "torch eager: the same step": (eager, 500),
        "acclimate: predict graph alone": (lambda: engine.outputs(active.params, normalized), 3000),
        "acclimate: predict_one (graph, checks, drift, telemetry)": (
            lambda: device.predict_one(stream[0][0]),
            3000,
        ),
        "acclimate: learn_one (adapts every 8th)": (lambda: device.learn_one(*stream[next(turn) % 200]), 400),
        "river SoftmaxRegression: learn_one": (lambda: softmax.learn_one(*rows[next(turn) % 200]), 1000),
        "river ARFClassifier: learn_one": (lambda: forest.learn_one(*rows[next(turn) % 200]), 100),
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (call, number) in contenders.items():
            began = time.perf_counter()
            for _ in range(number):
                call()
            found[name].append((time.perf_counter() - began) / number)
    for name, times in found.items():
        print(f"{name:58} {_spread(times, 1e6)} us")
    names = list(found)
    _ratio("one step, torch eager / acclimate", found[names[1]], found[names[0]])
    overhead = [one - two for one, two in zip(found[names[3]], found[names[2]], strict=True)]
    print(f"{'overhead of predict_one around its graph':58} {_spread(overhead, 1e6)} us")


def cuts() -> None:
    """Every storage call of a life of adapting, updating, confirming, resetting; and of the report queue."""
    from tests.unit.device.test_power_cuts import survives
    from tests.unit.device.test_queue import _survives_a_cut

    for name, one in (("device and slots", lambda *at: survives(*at)[0]), ("report queue", _survives_a_cut)):
        count = 0
        for torn in TORN:
            cut_at = 0
            while one(cut_at, torn):
                cut_at += 1
            count += cut_at
        print(f"power cuts survived, {name}: {count} (every call, {len(TORN)} ways of tearing)")


def flips() -> None:
    """Every bit of the metadata and of the trusted root, and 10,000 random bits of the artifacts.

    A flip of metadata that is accepted must mean the same: the same signed bytes in canonical form and the
    same signatures as numbers, which hexadecimal digits in capitals are.
    """
    from tests.support.gateway import version
    from tests.unit.device.test_tampering import (
        METADATA,
        fetch,
        flipped,
        outcome,
        refused,
        repository,
    )

    source, rng = repository(), random.Random(0)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the device syncs what it keeps
    with tempfile.TemporaryDirectory(dir=memory) as folder:

        def fresh() -> Path:
            return Path(tempfile.mkdtemp(dir=folder))

        for name in METADATA[1:]:
            bits = 8 * len(source.files[f"metadata/{name}"])
            found = Counter(outcome(source, name, bit, fresh()) for bit in range(bits))
            print(f"metadata {name}: {bits} flips, {_counts(found)}", flush=True)
        root, found = source.root, Counter()
        for bit in range(8 * len(root)):
            changed = flipped(root, bit)
            try:
                fetch(source, fresh(), root=changed)
            except Exception as error:  # whatever it is, it is counted by name
                found[f"refused as {type(error).__name__}"] += 1
            else:
                found["same meaning" if _same(root, changed) else "ANOTHER MEANING ACCEPTED"] += 1
        print(f"trusted root: {8 * len(root)} flips, {_counts(found)}", flush=True)
        stopped = 0
        for _ in range(10_000):
            path = source.path_of(rng.choice(list(version(2))))
            whole = source.files[path]
            source.files[path] = flipped(whole, rng.randrange(8 * len(whole)))
            stopped += refused(source, Path(folder, "artifacts"))
            source.files[path] = whole
        print(f"artifacts: {stopped} of 10,000 random flips refused")


def _same(one: bytes, two: bytes) -> bool:
    from tests.unit.device.test_tampering import meaning

    try:
        return meaning(one) == meaning(two)
    except Exception:  # what does not parse is not the same
        return False


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in found.most_common())


def _run(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "device_sdk"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def _spread(times: Sequence[float], unit: float) -> str:
    values = [value * unit for value in times]
    return f"{statistics.median(values):7.1f} ({min(values):.1f}..{max(values):.1f})"


def _ratio(name: str, one: list[float], two: list[float]) -> None:
    ratios = [first / second for first, second in zip(one, two, strict=True)]
    print(f"{name:58} {statistics.median(ratios):7.1f}x ({min(ratios):.1f}..{max(ratios):.1f})")


if __name__ == "__main__":
    main()
