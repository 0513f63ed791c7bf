"""A batch to try a bundle on, and what its start and its adaptation must make of it: the sanity vector.

Reference values are computed in float64 and rounded to float32, which gives the same bytes on every machine
that exports and an impartial reference for torch's float32 and the device's alike.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.bundle.step import Batch, Step, StepSignature, chain, step_function
from acclimate.errors import BundleError
from acclimate.initialization import Initialization
from acclimate.learners import Loss

SANITY_STEPS = 3
"""Few, because a device's other rounding may flip a ReLU or a maximum, whose effect later steps amplify."""
_LARGEST_GROWTH = 10.0


@dataclass(frozen=True)
class Reference:
    """An initialization and its step in float64."""

    initialization: Initialization
    model: nn.Module
    step: Step
    batch: Batch

    @staticmethod
    def of(
        initialization: Initialization, model: nn.Module, loss: Loss, signature: StepSignature, batch: Batch
    ) -> Reference:
        """Widen everything; the given model is left as it is."""
        double = copy.deepcopy(model).double()
        x, y, w = batch
        return Reference(
            initialization=replace(
                initialization, params=_wide(initialization.params), rates=_wide(initialization.rates)
            ),
            model=double,
            step=step_function(double, loss, signature),
            batch=(x.double(), y.double() if y.is_floating_point() else y, w.double()),
        )


@dataclass(frozen=True)
class Sanity:
    """One batch, the start's outputs on it, and the loss before each of a few chained steps; float32."""

    batch: Batch
    outputs: Tensor
    losses: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """As `sanity.safetensors` names them."""
        x, y, w = self.batch
        return {"x": x, "y": y, "w": w, "outputs": self.outputs, "losses": self.losses}


def probe_batch(initialization: Initialization, size: int) -> Batch:
    """A batch `(x, y, w)` that depends on the content hash only; where there are two, one example is padding.

    Inputs and real targets are standard normal, which is what normalized data look like; classes take turns.
    """
    seed = int.from_bytes(hashlib.sha256(initialization.content_hash().encode()).digest()[:7], "big")
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, *initialization.model.input_shape, generator=generator)
    width = initialization.model.outputs
    if initialization.schema.kind == "classification":
        y = torch.arange(size) % width
    else:
        y = torch.randn(size, width, generator=generator)
    w = torch.ones(size)
    w[1:][-1:] = 0.0
    return x, y, w


def sanity_of(reference: Reference, signature: StepSignature, batch: Batch) -> Sanity:
    """What a device must reproduce on `batch`: steps are left out from where the loss grows tenfold.

    Raises:
        BundleError: the start itself gives outputs that are not finite.
    """
    with torch.no_grad():
        outputs = functional_call(
            reference.model, dict(reference.initialization.params), (reference.batch[0],)
        )
    if not bool(torch.isfinite(outputs).all()):
        raise BundleError(
            "the start's outputs on standard normal inputs are not finite: its parameters are unusable; "
            "train again with a lower outer learning rate"
        )
    _, losses = chain(reference.step, reference.initialization, signature, reference.batch, SANITY_STEPS)
    return Sanity(batch, outputs.float(), torch.stack(losses[: steady_steps(losses)]).float())


def steady_steps(losses: list[Tensor]) -> int:
    """How many leading losses are finite and at most ten times the first; at least one."""
    bound = _LARGEST_GROWTH * max(float(losses[0]), 1.0)
    steady = [bool(torch.isfinite(loss)) and float(loss) <= bound for loss in losses]
    return max(1, steady.index(False) if False in steady else len(steady))


def _wide(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}
