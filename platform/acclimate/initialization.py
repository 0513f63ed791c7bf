"""An initialization: what meta-training makes, the registry versions and a device receives.

It carries everything needed to use it: parameters, learned rates, the model to build, the input schema with
its normalization, and how a device should adapt. Its content hash covers all of that and nothing else, so
equal bits have equal hashes wherever and whenever they were made.

On disk it is two files: `initialization.json` (everything but the tensors) and `initialization.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from acclimate.errors import ModelError
from acclimate.files import scratch_file, write_whole

TaskKind = Literal["classification", "regression", "forecasting", "anomaly"]
Missing = Literal["error", "drop", "hold", "season"]
Beyond = Literal["off", "clamp", "refuse"]


@dataclass(frozen=True)
class ModelSpec:
    """A network to build: a name from `acclimate.models` or an import path `package.module:callable`.

    Attributes:
        name: `mlp`, `conv1d`, `conv4`, `gru`, `spectral`, or an import path.
        input_shape: shape of one example, without the batch axis; windows are (channels, time).
        outputs: width of the output layer: classes, targets, or targets x horizon.
        options: keyword arguments of the builder.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputSchema:
    """What one example is, in the words of who recorded it.

    Attributes:
        kind: what the outputs mean.
        channels: channel names, in order.
        units: a unit for each channel; empty where unknown.
        window: samples from the oldest of one example to the latest; 1 when an example is one row.
        sample_rate_hz: samples a second, if known.
        labels: class names in the order of the outputs (classification); empty otherwise.
        targets: target names (regression, forecasting); empty otherwise.
        horizon: samples ahead (forecasting); 0 otherwise.
        leads: the samples ahead that are forecast; empty: all up to the horizon.
        lags: samples before the latest that an example takes, oldest first; empty: all of the window.
        seasons: samples of each season that was found or declared, for forecasts without a model.
        calendar: cycles whose inputs are the last channels, see `acclimate_device.calendar`.
        time_unit_s: seconds in a unit of the recordings' time.
        missing: what is done to missing values: see `RecordingSchema`.
        relative: channels that hold the rise since the window's first sample.
        beyond: what is done to inputs outside the normalization's bounds.
        absent: numbers that stand for a missing value.
        step_s: seconds in the even steps that rows were gathered into; 0: rows as they came.
        pause: steps from one row to the next beyond which no example reaches; of even steps only.
    """

    kind: TaskKind
    channels: tuple[str, ...]
    units: tuple[str, ...] = ()
    window: int = 1
    sample_rate_hz: float | None = None
    labels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    horizon: int = 0
    leads: tuple[int, ...] = ()
    lags: tuple[int, ...] = ()
    seasons: tuple[int, ...] = ()
    calendar: tuple[str, ...] = ()
    time_unit_s: float = 1.0
    missing: Missing = "error"
    relative: tuple[str, ...] = ()
    beyond: Beyond = "off"
    absent: tuple[float, ...] = ()
    step_s: float = 0.0
    pause: int = 0


@dataclass(frozen=True)
class Normalization:
    """Per-channel `(x - mean) / scale`, measured on training tasks only; real targets likewise.

    Attributes:
        offset: taken off in float64 first, where float32 would lose steps; empty: nothing.
        low, high: bounds far outside of which no training input lies; empty: none.
        still: channels that never moved in training, of which nothing is passed on.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    still: tuple[str, ...] = ()


@dataclass(frozen=True)
class AdaptationPolicy:
    """How a device adapts: gradient steps on its support, at `inner_lr` times any learned rates.

    Attributes:
        steps: gradient steps of one adaptation; 0: one model for all, which never adapts.
        inner_lr: the step size; learned rates, where there are any, replace it by parameter and step.
        shots: support examples a class (classification) or in all.
        trainable: names of the parameters that move; empty means all.
        loss: what a step lowers, a name from `acclimate.learners.LOSSES`; None is the usual one of the kind.
    """

    steps: int
    inner_lr: float
    shots: int
    trainable: tuple[str, ...] = ()
    loss: str | None = None


@dataclass(frozen=True)
class Initialization:
    """One meta-learned start, whole.

    Attributes:
        params: float32 tensors by parameter name, as `torch.nn.Module.named_parameters` gives them.
        learner: the learner that made it (`maml`, `reptile`, ...).
        rates: learned inner-loop rates by parameter name, shaped to broadcast as `(steps or 1, *parameter)`;
            empty where the rate is `inner_lr`.
        prior: of heads that a device solves in closed form, by name as in `acclimate.learners.heads`; empty
            where it takes gradient steps.
    """

    params: Mapping[str, torch.Tensor]
    model: ModelSpec
    schema: InputSchema
    normalization: Normalization
    adaptation: AdaptationPolicy
    learner: str
    rates: Mapping[str, torch.Tensor] = field(default_factory=dict)
    prior: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON types."""
        return {
            "model": asdict(self.model),
            "schema": _written(self.schema, _FIRST_SCHEMA),
            "normalization": _written(self.normalization, _FIRST_NORMALIZATION),
            "adaptation": asdict(self.adaptation),
            "learner": self.learner,
        }

    def content_hash(self) -> str:
        """SHA-256 over the metadata in canonical JSON and every tensor's name, shape and bytes, in hex."""
        digest = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True, separators=(",", ":")).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"\n{name}:{tuple(tensor.shape)}:{tensor.dtype}\n".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def save(self, directory: Path) -> None:
        """Write both files into `directory`, which is created if missing."""
        directory.mkdir(parents=True, exist_ok=True)
        with scratch_file(directory / "initialization.safetensors") as scratch:
            save_file(self._tensors(), scratch)
        write_whole(directory / "initialization.json", json.dumps(self.metadata(), indent=2) + "\n")

    @staticmethod
    def load(directory: Path) -> Initialization:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or is not what `save` writes.
        """
        try:
            meta = json.loads((directory / "initialization.json").read_text("utf-8"))
            tensors = load_file(directory / "initialization.safetensors")
            return Initialization(
                params=_with_prefix(tensors, "param."),
                rates=_with_prefix(tensors, "rate."),
                prior=_with_prefix(tensors, "prior."),
                model=ModelSpec(**_tuples(meta["model"])),
                schema=InputSchema(**_tuples(meta["schema"])),
                normalization=Normalization(**_tuples(meta["normalization"])),
                adaptation=AdaptationPolicy(**_tuples(meta["adaptation"])),
                learner=meta["learner"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ModelError(
                f"{directory} holds no readable initialization ({error}): export or train it again"
            ) from error

    def _tensors(self) -> dict[str, torch.Tensor]:
        named = {f"param.{name}": tensor for name, tensor in self.params.items()}
        named |= {f"rate.{name}": tensor for name, tensor in self.rates.items()}
        named |= {f"prior.{name}": tensor for name, tensor in self.prior.items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


_FIRST_SCHEMA = ("kind", "channels", "units", "window", "sample_rate_hz", "labels", "targets", "horizon")
_FIRST_NORMALIZATION = ("mean", "scale", "target_mean", "target_scale")


def _written(part: Any, first: tuple[str, ...]) -> dict[str, Any]:
    """Without later fields at their default, so that the content hashes of older versions stay."""
    return {
        one.name: getattr(part, one.name)
        for one in fields(part)
        if one.name in first or getattr(part, one.name) != one.default
    }


def _with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
