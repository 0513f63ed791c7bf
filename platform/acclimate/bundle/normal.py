"""The files of a bundle that tells anomalies, and their proof: the device's own engine runs them."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from acclimate.bundle.closed_form import BundleFiles
from acclimate.bundle.graphs import module_to_onnx
from acclimate.bundle.probe import probe_batch
from acclimate.errors import BundleError
from acclimate.initialization import Initialization
from acclimate.models import build
from acclimate_device import bundle as device_bundle
from acclimate_device.errors import BundleError as DeviceBundleError
from acclimate_device.normality import Normality, Prior
from acclimate_device.protocol import FEATURES, PARAMS, SANITY, Manifest, NormalWindows
from acclimate_device.runtime import NormalEngine

WINDOWS = 20


def normal_files(initialization: Initialization) -> BundleFiles:
    """Trace, prove and count.

    Raises:
        BundleError: an operator has no inference form.
    """
    body = build(initialization.model).get_submodule("body")
    names = [name for name, _ in body.named_parameters()]
    params = {name: initialization.params[f"body.{name}"] for name in names}
    features = _Features(body, names)
    x, _, _ = probe_batch(initialization, WINDOWS)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        features(*params.values(), x[:1])
    prior = initialization.prior
    size = prior["normal.mean"].numel()
    inputs = [f"param.body.{name}" for name in names]
    macs = forward.get_total_flops() // 2
    return BundleFiles(
        files={
            FEATURES: module_to_onnx(features, (*params.values(), x), [*inputs, "x"], ["z"], batched=True),
            PARAMS: dict(zip(inputs, params.values(), strict=True))
            | {f"prior.{name}": tensor for name, tensor in prior.items()},
            SANITY: {"x": x, "outputs": _told(initialization, body.double(), params, x)},
        },
        adaptation=NormalWindows("normal", initialization.adaptation.shots),
        label_macs=macs + 2 * size * size,
        prediction_macs=macs + size * size,
        state_bytes=2 * 4 * (size * size + size + 1),
    )


def verify_windows(manifest: Manifest, files: Mapping[str, bytes]) -> float:
    """Run the sanity vector as a device will; the largest error, relative above 1.

    Raises:
        BundleError: it is above what devices accept.
    """
    try:
        engine = NormalEngine(device_bundle.Bundle(manifest, files))
    except DeviceBundleError as error:
        raise BundleError(f"the exported features disagree with the model: {error}") from error
    return engine.off(safetensors.torch.load(files[SANITY]))


def _told(initialization: Initialization, body: nn.Module, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """The score of each window before it is learned, in float64."""
    wide = {name: tensor.double() for name, tensor in params.items()}
    with torch.no_grad():
        seen = functional_call(body, wide, (x.double(),)).numpy()
    try:
        prior = Prior.of({name: tensor.numpy() for name, tensor in initialization.prior.items()})
    except ValueError as error:
        raise BundleError(str(error)) from None
    model = Normality(prior)
    told = []
    for z in seen:
        told.append(model.score(z))
        model = model.learned(z)
    return torch.tensor(told, dtype=torch.float32)


class _Features(nn.Module):
    """The body as a function of its parameters; it keeps none of its own."""

    def __init__(self, body: nn.Module, names: list[str]) -> None:
        super().__init__()
        self._body = (body,)  # in a tuple, so that torch does not register its parameters as ours
        self._names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        params = dict(zip(self._names, tensors[:-1], strict=True))
        features: Tensor = functional_call(self._body[0], params, (tensors[-1],))
        return features
