"""Proof before publishing: the exported graphs do on a stock runtime what torch does in training.

Twenty steps are chained in torch and in onnxruntime, and every parameter is compared after every step.

Two correct float32 programs can still part: where a ReLU's input, or the two largest values of a pooling
window, differ by less than rounding error, they may choose differently, and the gradient jumps there.
(Measured on conv4 with 25 images: once in a few steps, by 1e-5 to 1e-4, which later steps amplify.) So when
the chains part, two things must hold instead. The traced step must agree with torch over the whole chain in
float64, where such ties do not occur: that proves the rewriting of the backward pass. And from each point of
the exported chain torch must take the same step, up to what one unit in the last place of the step's inputs
changes in torch itself, and these differences must not add up: that proves the translation to ONNX and the
runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.bundle.graphs import trace_step
from acclimate.bundle.probe import Reference, Sanity, steady_steps
from acclimate.bundle.step import Batch, Step, StepSignature, chain, step_inputs
from acclimate.errors import BundleError
from acclimate.initialization import Initialization

STEPS = 20
TOLERANCE = 1e-5
"""Largest difference accepted over all steps: absolute up to 1, relative above."""

_ULP = 2.0**-23
_PERTURBATIONS = 16
_SLOWDOWNS = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Agreement:
    """How far the exported step and torch are apart.

    Attributes:
        chained: largest difference of any parameter after any of the chained steps.
        undetermined_steps: steps whose result float32 itself leaves open (see module); 0 if the chains agree.
    """

    chained: float
    undetermined_steps: int = 0


class Session:
    """A graph loaded as a device loads it: one thread, no training build."""

    def __init__(self, onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base but this
            raise BundleError(f"onnxruntime does not load the exported graph: {error}") from error
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def run(self, feeds: Mapping[str, Tensor]) -> list[Tensor]:
        """Outputs in the graph's order; feeds that it does not need are left out."""
        arrays = {name: feeds[name].detach().numpy() for name in self._inputs}
        # asarray: a scalar output comes back as a numpy scalar
        return [torch.from_numpy(np.asarray(value)) for value in self._session.run(None, arrays)]


def verify_step(
    initialization: Initialization,
    reference: Reference,
    step: Step,
    onnx: bytes,
    signature: StepSignature,
    batch: Batch,
) -> Agreement:
    """Chain twenty steps both ways and compare.

    Raises:
        BundleError: they differ by more than `TOLERANCE`; the message names the parameter and the step.
    """
    session = Session(onnx)

    def exported(*tensors: Tensor) -> list[Tensor]:
        return session.run(dict(zip(signature.inputs, tensors, strict=True)))

    initialization, slowdown = _slowed(initialization, step, signature, batch)
    ours, _ = chain(exported, initialization, signature, batch, STEPS)
    theirs, _ = chain(step, initialization, signature, batch, STEPS)
    chained = max(
        _apart(ours[k][name], theirs[k][name]) for k in range(STEPS) for name in signature.trainable
    )
    if chained <= TOLERANCE:
        return Agreement(chained)
    _verify_trace(replace(reference, initialization=_scaled(reference.initialization, slowdown)), signature)
    starts = [dict(initialization.params), *ours[:-1]]
    total, undetermined = 0.0, 0
    for k, (params, after) in enumerate(zip(starts, ours, strict=True)):
        tensors = step_inputs(initialization, signature, params, batch, k)
        excess, name, excused = _step_excess(
            step, tensors, [after[name] for name in signature.trainable], signature
        )
        total, undetermined = total + excess, undetermined + excused
        if not total <= TOLERANCE:
            raise BundleError(
                f"the exported adaptation step and torch are {total:.1e} apart in {name!r} after step "
                f"{k + 1} of {STEPS}; at most {TOLERANCE:.0e} is accepted: replace the layer that "
                "owns the parameter"
            )
    return Agreement(chained, undetermined)


def verify_prediction(initialization: Initialization, model: nn.Module, onnx: bytes, x: Tensor) -> float:
    """Compare the start's outputs for a whole batch and for one example; the largest difference.

    Raises:
        BundleError: they differ by more than `TOLERANCE`.
    """
    session = Session(onnx)
    feeds = {f"param.{name}": tensor for name, tensor in initialization.params.items()}
    worst = 0.0
    for rows in sorted({1, x.shape[0]}):
        with torch.no_grad():
            want = functional_call(model, dict(initialization.params), (x[:rows],))
        (got,) = session.run({**feeds, "x": x[:rows]})
        worst = max(worst, _apart(got, want))
        if not worst <= TOLERANCE:
            raise BundleError(
                f"the exported prediction and torch differ by {worst:.1e} for a batch of {rows}; at most "
                f"{TOLERANCE:.0e} is accepted: a layer of {initialization.model.name!r} is not exported right"
            )
    return worst


def verify_sanity(
    initialization: Initialization,
    predict: bytes,
    adapt: bytes,
    signature: StepSignature,
    sanity: Sanity,
    tolerance: float,
) -> float:
    """Check the sanity vector as a device will; the largest absolute error.

    Raises:
        BundleError: the error is above a tenth of `tolerance`, too close for another processor's rounding.
    """
    feeds = {f"param.{name}": tensor for name, tensor in initialization.params.items()}
    (outputs,) = Session(predict).run({**feeds, "x": sanity.batch[0]})
    session = Session(adapt)

    def exported(*tensors: Tensor) -> list[Tensor]:
        return session.run(dict(zip(signature.inputs, tensors, strict=True)))

    _, losses = chain(exported, initialization, signature, sanity.batch, len(sanity.losses))
    errors = (outputs - sanity.outputs).abs().max(), (torch.stack(losses) - sanity.losses).abs().max()
    worst = max(map(float, errors))
    if not worst <= tolerance / 10:
        raise BundleError(
            f"float32 reproduces the sanity vector only to {worst:.1e}, where devices accept "
            f"{tolerance:.0e}: outputs or losses are very large; normalize the data, or lower inner_lr"
        )
    return worst


def _slowed(
    initialization: Initialization, step: Step, signature: StepSignature, batch: Batch
) -> tuple[Initialization, float]:
    """With rates low enough that the probe does not diverge: that it does says nothing about real data."""
    for slowdown in _SLOWDOWNS:
        slower = _scaled(initialization, slowdown)
        _, losses = chain(step, slower, signature, batch, STEPS)
        if steady_steps(losses) == STEPS:
            return slower, slowdown
    raise BundleError(
        f"adaptation diverges on standard normal data even at {_SLOWDOWNS[-1]:g} times inner_lr "
        f"{initialization.adaptation.inner_lr:g}: train with a far lower inner_lr, or with normalized data"
    )


def _scaled(initialization: Initialization, factor: float) -> Initialization:
    policy = replace(initialization.adaptation, inner_lr=initialization.adaptation.inner_lr * factor)
    rates = {name: rate * factor for name, rate in initialization.rates.items()}
    return replace(initialization, adaptation=policy, rates=rates)


def _verify_trace(reference: Reference, signature: StepSignature) -> None:
    start = reference.initialization
    tensors = step_inputs(start, signature, start.params, reference.batch)
    ours, _ = chain(trace_step(reference.step, tensors), start, signature, reference.batch, STEPS)
    theirs, _ = chain(reference.step, start, signature, reference.batch, STEPS)
    for k in range(STEPS):
        for name in signature.trainable:
            error = _apart(ours[k][name], theirs[k][name])
            if not error <= TOLERANCE:
                raise BundleError(
                    f"the traced adaptation step and torch differ by {error:.1e} in {name!r} after step "
                    f"{k + 1} in float64: the gradient of the layer that owns it is not exported right, "
                    "replace the layer"
                )


def _step_excess(
    step: Step, tensors: Sequence[Tensor], ours: Sequence[Tensor], signature: StepSignature
) -> tuple[float, str, bool]:
    """(difference beyond what float32 leaves open, the parameter it is in, whether it left anything open)."""
    theirs = [tensor.detach() for tensor in step(*tensors)[:-1]]
    gaps = [_gap(one, other) for one, other in zip(ours, theirs, strict=True)]
    plain = max(float(gap.max()) for gap in gaps)
    excused = not plain <= TOLERANCE / STEPS
    if excused:
        gaps = [
            (gap - 2 * leeway).clamp(min=0)
            for gap, leeway in zip(gaps, _leeway(step, tensors, theirs), strict=True)
        ]
    worst = [float(gap.max()) for gap in gaps]
    where = max(
        range(len(worst)), key=lambda index: worst[index] if worst[index] == worst[index] else float("inf")
    )
    return worst[where], signature.trainable[where], excused


def _leeway(step: Step, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
    """How far torch's own results move when its inputs move by up to one unit in the last place."""
    generator = torch.Generator().manual_seed(0)
    leeway = [torch.zeros_like(result) for result in results]
    for _ in range(_PERTURBATIONS):
        moved = step(*(_perturbed(tensor, generator) for tensor in tensors))[:-1]
        leeway = [
            torch.maximum(old, _gap(one, other))
            for old, one, other in zip(leeway, moved, results, strict=True)
        ]
    return leeway


def _perturbed(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor.detach() * (1 + _ULP * (2 * torch.rand(tensor.shape, generator=generator) - 1))


def _gap(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours.detach() - theirs.detach()).abs() / theirs.detach().abs().clamp(min=1)


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest gap; NaN if either holds one."""
    return float(_gap(ours, theirs).max())
