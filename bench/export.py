"""What a bundle costs: by model family, size, agreement with torch, and microseconds a step.

`python -m bench.export` runs the exported step (onnxruntime) and the same step in eager torch,
interleaved, one thread each, and prints the ratio with its spread over rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.func import functional_call

from acclimate.bundle.export import Bundle, build_bundle
from acclimate.bundle.probe import probe_batch
from acclimate.bundle.step import StepSignature, step_inputs
from acclimate.bundle.verification import Session
from acclimate.cli.output import print_table
from acclimate.initialization import Initialization
from acclimate.learners import loss_for
from acclimate.models import build
from acclimate_device.protocol import Adaptation
from tests.support.bundle_samples import FAMILIES, release_of, start

ROUNDS = 7
ROUND_S = 0.15


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rows = [row(family) for family in FAMILIES]
    columns = [
        *("family", "params", "bytes", "MAC/step", "peak kB", "export s", "err 20 steps", "open"),
        *("ort us", "eager us", "eager/ort (min..max)"),
    ]
    print_table("Adaptation step: onnxruntime beside eager torch, one thread", columns, rows)
    print("err: largest difference over 20 chained steps; open: steps that float32 leaves open")


def row(family: str) -> list[object]:
    """One family's figures."""
    arguments, options, _ = FAMILIES[family]
    initialization = start(*arguments, **options)
    print(family, file=sys.stderr)
    begun = time.perf_counter()
    bundle = build_bundle(initialization, release_of(initialization))
    export_s = time.perf_counter() - begun
    ours, eager = steps(initialization, bundle)
    pairs = [(timed(ours), timed(eager)) for _ in range(ROUNDS)]
    ratios = sorted(theirs / mine for mine, theirs in pairs)
    cost = bundle.manifest.cost
    return [
        family,
        cost.parameters,
        cost.file_bytes,
        cost.macs_per_step,
        cost.peak_memory_bytes // 1000,
        f"{export_s:.1f}",
        f"{bundle.agreement.chained:.0e}",
        bundle.agreement.undetermined_steps,
        round(statistics.median(mine for mine, _ in pairs)),
        round(statistics.median(theirs for _, theirs in pairs)),
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})",
    ]


def steps(
    initialization: Initialization, bundle: Bundle
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The exported step and a plain eager one, as people write it: forward, autograd, update."""
    signature = StepSignature.of(initialization)
    adaptation = bundle.manifest.adaptation
    assert isinstance(adaptation, Adaptation)
    batch = probe_batch(initialization, adaptation.batch)
    tensors = dict(
        zip(
            signature.inputs,
            step_inputs(initialization, signature, initialization.params, batch),
            strict=True,
        )
    )
    session = Session(bundle.files["adapt.onnx"])
    model = build(initialization.model)
    loss = loss_for(initialization.schema.kind, initialization.adaptation.loss)
    params = {name: value.clone() for name, value in initialization.params.items()}
    leaves = [params[name].requires_grad_() for name in signature.trainable]
    rates = [tensors.get(f"rate.{name}", tensors["lr"]) for name in signature.trainable]
    x, y, w = batch

    def eager() -> list[torch.Tensor]:
        value = (loss(functional_call(model, params, (x,)), y) * w).sum() / w.sum()
        gradients = torch.autograd.grad(value, leaves)
        with torch.no_grad():
            return [p - r * g for p, r, g in zip(leaves, rates, gradients, strict=True)]

    return lambda: session.run(tensors), eager


def timed(step: Callable[[], object]) -> float:
    """Microseconds a call, over about `ROUND_S`."""
    step()
    calls, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < ROUND_S or calls < 5:
        step()
        calls += 1
    return 1e6 * spent / calls


if __name__ == "__main__":
    main()
