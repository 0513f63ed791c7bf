"""Models on emulated microcontrollers, beside what others report: `python -m bench.microcontrollers [BOARD]`.

RAM by the linker; flash with code, C library and weights; instructions of a prediction, a label and a
gradient step, counted by QEMU (`-icount`), which is no silicon. onnxruntime's time for the same label on this
machine is an upper bound: others use it too. The table in docs/how-to/microcontrollers.md is this command's.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acclimate.bundle.export import write_bundle
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate.initialization import ModelSpec
from acclimate_device import Device
from acclimate_device.protocol import MANIFEST, dumps
from acclimate_device.testing import SimulatedFlash
from tests.support import bundle_samples
from tests.support.bundle_samples import export
from tests.support.mcu_board import run
from tests.support.mcu_host import GESTURES, STEPS, generate
from tests.unit.bundle import test_closed_form

LABELS = 24
RAM_BYTES = 65536
"""Of the boards in `tests/support/mcu_board.ld`."""
PEERS = (
    (
        "MIT tiny-training",
        "STM32F746, Cortex-M7",
        "under 256 kB of RAM, 1 MB of flash: int8 vision networks, some of their layers",
        "Lin et al., NeurIPS 2022, arXiv:2206.15472",
    ),
    (
        "AIfES",
        "a Cortex-M4",
        "slightly more than 100 kB of RAM: a convolutional network",
        "Wulfert et al., IEEE TPAMI 2024, doi:10.1109/TPAMI.2024.3355495",
    ),
    (
        "TinyOL",
        "Arduino Nano 33 BLE Sense, Cortex-M4",
        "the last layer alone, sample by sample; we found no figure of its RAM",
        "Ren et al., IJCNN 2021, arXiv:2103.08295",
    ),
)


def main(boards: list[str]) -> None:
    warnings.filterwarnings("ignore")
    print(
        "| model | RAM | predicted | stack | flash | a prediction | a label | a step | onnxruntime, a label |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, bundle_folder) in enumerate(models(Path(folder))):
            made = generate(bundle_folder, Path(folder) / f"firmware-{number}")
            xs, ys, per_label_us = learnt(bundle_folder)
            if made.footprint.ram_bytes + made.footprint.stack_bytes > RAM_BYTES:
                print(f"| {name} | does not fit {RAM_BYTES:,} | {made.footprint.ram_bytes:,} | | | | | | |")
                continue
            for board in boards:
                ran = run(Path(folder) / f"firmware-{number}", Path(folder) / "board", board, xs, ys)
                step = f"{ran.said['step']:,}" if "step" in ran.said else "–"
                print(
                    f"| {name}, {board} | {ran.ram:,} | {made.footprint.ram_bytes:,} | {ran.said['stack']} "
                    f"| {ran.flash:,} | {ran.said['predict']:,} | {ran.said['learn']:,} | {step} "
                    f"| {per_label_us:,.0f} us |",
                    flush=True,
                )
    print("\nWhat others report, each by its own measure and for its own networks:\n")
    for peer in PEERS:
        print(f"| {' | '.join(peer)} |")


def models(folder: Path) -> Iterator[tuple[str, Path]]:
    """The sample bundles, and untrained ones of the recipes' shapes: what they cost is the same."""
    yield "gestures, closed form", GESTURES
    yield "gestures, gradient steps", STEPS
    for name, spec in (
        ("wisdm, closed form", ModelSpec("mlp", (91,), 18, {"hidden": (64,)})),
        (
            "watch, closed form",
            ModelSpec("conv1d", (6, 100), 7, {"filters": 24, "norm": "group", "readout": "blocks"}),
        ),
    ):
        path = folder / name.partition(",")[0]
        write_bundle(export(test_closed_form.start(spec)).files, path)
        yield name, path
    head = bundle_samples.start("mlp", (91,), 18, options={"hidden": (64,)}, shots=1, trainable="head")
    write_bundle(export(head).files, folder / "wisdm-head")
    yield "wisdm, head by gradient steps, 1 shot", folder / "wisdm-head"


def learnt(folder: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Made-up labelled inputs, and how long the SDK takes for one, in microseconds."""
    bundle = bundle_in(folder)
    files = {**bundle.files, MANIFEST: dumps(bundle.manifest)}
    shape, labels = bundle.manifest.input.shape, bundle.manifest.output.labels
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(LABELS, *shape)).astype(np.float32)
    ys = rng.integers(len(labels), size=LABELS).astype(np.int32)
    device = Device(files.get, SimulatedFlash(), clock=lambda: 0.0)
    device.learn_one(xs[0], labels[ys[0]])
    began = time.process_time()
    for x, y in zip(xs, ys, strict=True):
        device.learn_one(x, labels[y])
    return xs, ys, (time.process_time() - began) / LABELS * 1e6


if __name__ == "__main__":
    main(sys.argv[1:] or ["M4", "M3", "M0+"])
