"""The files of a bundle whose heads a device solves in closed form, and their proof.

The learn graph is the learners' own update of one label, so what is verified here is what training measured:
the chain of twenty labels that the sanity vector holds is computed in float64 by the learner, and the
exported graphs must follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from acclimate.bundle.graphs import module_to_onnx
from acclimate.bundle.probe import probe_batch
from acclimate.errors import BundleError
from acclimate.initialization import Initialization
from acclimate.learners import ClosedFormLearner, LearnerConfig, build_learner, heads_in, loss_for
from acclimate.learners.headless import headless
from acclimate.learners.heads import HeadName, Heads
from acclimate.models import build
from acclimate_device import bundle as device_bundle
from acclimate_device.errors import BundleError as DeviceBundleError
from acclimate_device.protocol import FEATURES, LEARN, PARAMS, SANITY, ClosedForm, Manifest, NormalWindows
from acclimate_device.runtime import ClosedFormEngine, row_error

LABELS = 20
_NAMES: dict[HeadName, str] = {"last": "phi", "means": "z"}


@dataclass(frozen=True)
class BundleFiles:
    """What a device receives that adapts without gradient steps.

    Attributes:
        files: by name, all but the manifest.
        adaptation: for the manifest.
        label_macs: multiply-adds of learning one label, its features included.
        prediction_macs: of one prediction.
        state_bytes: of the heads' state, the fleet's and the device's own.
    """

    files: Mapping[str, Mapping[str, Tensor] | bytes]
    adaptation: ClosedForm | NormalWindows
    label_macs: int
    prediction_macs: int
    state_bytes: int


def learner_of(initialization: Initialization, dtype: torch.dtype = torch.float32) -> ClosedFormLearner:
    """The learner whose heads an initialization's prior is of."""
    model = build(initialization.model).to(dtype)
    loss = loss_for(initialization.schema.kind, initialization.adaptation.loss)
    config = LearnerConfig("closed-form", heads=heads_in(initialization.prior), compile="off")
    learner = build_learner(config, model, loss)
    assert isinstance(learner, ClosedFormLearner)
    return learner


def closed_form_files(initialization: Initialization) -> BundleFiles:
    """Trace, prove and count.

    Raises:
        BundleError: an operator has no inference form, or the graphs disagree with the learner.
    """
    learner = learner_of(initialization)
    heads = learner.heads
    meta = _meta(initialization, torch.float32)
    start = learner.start(meta)
    names = sorted(name for name in initialization.params if not name.startswith(f"{learner.head}."))
    body = {name: meta[f"param.{name}"] for name in names}
    features = _Features(headless(learner.model)[0], heads, names)
    x, y, _ = probe_batch(initialization, LABELS)
    prior = initialization.prior
    projection = [prior["means.projection"]] if "means" in heads.names else []
    reads = [_NAMES[name] for name in heads.names]
    inputs = [*(f"param.{name}" for name in body), *["param.means.projection"][: len(projection)]]
    arguments = (*body.values(), *projection)
    seen = features(*arguments, x[:1])
    forgetting = {name: round(float(prior.get(f"{name}.forgetting", 1.0)), 6) for name in heads.names}
    learning = _learning(heads, start, seen, initialization.model.outputs, forgetting)
    step = _Learn(heads, list(learning))
    params = dict(zip(inputs, arguments, strict=True))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        features(*arguments, x[:1])
    with FlopCounterMode(display=False) as update, torch.no_grad():
        step(*learning.values())
    macs = forward.get_total_flops() // 2
    return BundleFiles(
        files={
            FEATURES: module_to_onnx(features, (*arguments, x), [*inputs, "x"], reads, batched=True),
            LEARN: module_to_onnx(
                step, tuple(learning.values()), list(learning), step.outputs, batched=False
            ),
            PARAMS: params | _tensors(initialization, start),
            SANITY: {"x": x, "y": y, "outputs": _told(initialization, x, y).float()},
        },
        adaptation=ClosedForm(
            kind="closed-form",
            heads=heads.names,
            forgetting=tuple(forgetting.values()),
            shots=initialization.adaptation.shots,
            loss=learner.loss.name,  # type: ignore[arg-type]  # one of the protocol's, checked when it is read
        ),
        label_macs=macs + update.get_total_flops() // 2,
        prediction_macs=macs + _head_macs(start),
        state_bytes=2 * sum(4 * tensor.numel() for tensor in start.values()),
    )


def verify_labels(manifest: Manifest, files: Mapping[str, bytes]) -> float:
    """Run the sanity vector as a device will, on the device's own engine, against the learner in float64.

    Returns:
        The largest error, see `row_error`.

    Raises:
        BundleError: it is above what devices accept.
    """
    sanity = safetensors.torch.load(files[SANITY])
    try:
        engine = ClosedFormEngine(device_bundle.Bundle(manifest, files))
    except DeviceBundleError as error:
        raise BundleError(
            f"the exported heads disagree with the learner: {error}; where outputs are very large, normalize"
        ) from error
    told = engine.told(engine.start, sanity["x"].numpy(), sanity["y"].numpy())
    return row_error(told, sanity["outputs"].numpy())


def _meta(initialization: Initialization, dtype: torch.dtype) -> dict[str, Tensor]:
    parts = {"param": initialization.params, "prior": initialization.prior}
    return {f"{part}.{name}": each.to(dtype) for part, named in parts.items() for name, each in named.items()}


def _told(initialization: Initialization, x: Tensor, y: Tensor) -> Tensor:
    """What the mean of the heads says of each label before it is learnt, in float64."""
    learner = learner_of(initialization, torch.float64)
    meta = _meta(initialization, torch.float64)
    prior = {name: tensor.double() for name, tensor in initialization.prior.items() if name != "temperature"}
    y = y if y.dim() == 1 else y.double()
    rows = []
    with torch.no_grad():
        features = learner.features(meta, x[None].double())
        start = {name: tensor[None] for name, tensor in learner.start(meta).items()}
        state = start
        for at in range(len(x)):
            one = features[:, at : at + 1]
            rows.append(learner.heads.mixed(prior, state, one)[0, 0])
            kept = dict.fromkeys(learner.heads.names, torch.ones((), dtype=torch.float64))
            state = learner.heads.updated(prior, start, state, one, y[None, at : at + 1], kept)
    told = torch.stack(rows)
    if not bool(torch.isfinite(told).all()):
        raise BundleError(
            "the heads' answers on standard normal inputs are not finite: the prior is unusable; train again "
            "with a lower training.optimizer.lr"
        )
    return told


def _tensors(initialization: Initialization, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state before any label, and what turns it into answers."""
    asked = {"scale", "power", "bias", "temperature", "noise", "interval", "levels"}
    kept = {
        f"prior.{name}": tensor
        for name, tensor in initialization.prior.items()
        if name.rpartition(".")[2] in asked
    }
    if initialization.schema.kind == "classification":
        kept.setdefault("prior.temperature", torch.ones(()))
    return {f"start.{name}": tensor for name, tensor in start.items()} | kept


def _learning(
    heads: Heads,
    start: Mapping[str, Tensor],
    seen: tuple[Tensor, ...],
    outputs: int,
    forgetting: Mapping[HeadName, float],
) -> dict[str, Tensor]:
    """The inputs of `learn.onnx` by name, with values to trace it by; who forgets nothing takes fewer."""
    tensors = dict(zip((_NAMES[name] for name in heads.names), seen, strict=True))
    tensors["y"] = torch.zeros(1, outputs)
    for name in heads.names:
        own = {f"{name}.{part}": start[f"{name}.{part}"] for part in ("mean", "cov")}
        # Cloned: one tensor under two names would be traced as one input.
        tensors |= own
        if forgetting[name] < 1.0:
            tensors |= {f"pull.{key}": tensor.clone() for key, tensor in own.items()}
            tensors[f"{name}.gamma"] = torch.tensor(0.99)
    return tensors


def _head_macs(start: Mapping[str, Tensor]) -> int:
    """Of reading the heads once: every number of their state meets a feature once."""
    return sum(tensor.numel() for tensor in start.values())


class _Features(nn.Module):
    """The network without its head, and what each head reads of it."""

    def __init__(self, body: nn.Module, heads: Heads, names: list[str]) -> None:
        super().__init__()
        self._body = (body,)  # in a tuple, so that torch does not register its parameters as ours
        self._heads, self._names = heads, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(self._names)
        params = dict(zip(self._names, tensors[:count], strict=True))
        features: Tensor = functional_call(self._body[0], params, (tensors[-1],))
        reads = self._heads.reads({"means.projection": tensors[-2]}, features)
        return tuple(reads[name] for name in self._heads.names)


class _Learn(nn.Module):
    """One label into every head."""

    def __init__(self, heads: Heads, names: list[str]) -> None:
        super().__init__()
        self._heads, self._names = heads, names
        self.outputs = [f"next.{name}.{part}" for name in heads.names for part in ("mean", "cov")]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self._names, tensors, strict=True))
        reads = {name: given[_NAMES[name]] for name in self._heads.names}
        one, none = torch.ones(()), torch.zeros(())  # graphs lose what is multiplied and added with these
        gamma = {name: given.get(f"{name}.gamma", one) for name in self._heads.names}
        state = {name: given[name] for name in given if name.endswith((".mean", ".cov"))}
        pulled = {name: given.get(f"pull.{name}", none) for name in state if not name.startswith("pull.")}
        after = self._heads.moved(pulled, state, reads, given["y"], gamma)
        return tuple(after[name.removeprefix("next.")] for name in self.outputs)
