"""From a `ModelSpec` to a network, with every way it can be wrong said before training."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.initialization import ModelSpec
from acclimate.models.conv import conv1d, conv4
from acclimate.models.forecast import forecast
from acclimate.models.gru import gru
from acclimate.models.levels import levels
from acclimate.models.mlp import mlp
from acclimate.models.random_features import random_features
from acclimate.models.spectral import spectral
from acclimate.nearest import did_you_mean

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "conv1d": conv1d,
    "conv4": conv4,
    "gru": gru,
    "spectral": spectral,
    "levels": levels,
    "forecast": forecast,
    "random": random_features,
}


def build(spec: ModelSpec) -> nn.Module:
    """Build the network of `spec` and try it on two examples.

    The caller seeds torch's generator first: initial values come from it. A model of the user's own is named
    by an import path `package.module:callable`, called as `callable(input_shape, outputs, **options)`.

    Raises:
        ModelError: unknown name or option, running statistics, or outputs of another shape than
            `(examples, outputs)`.
    """
    builder = _imported(spec.name) if ":" in spec.name else _builtin(spec.name)
    _check_options(spec, builder)
    try:
        model = builder(tuple(spec.input_shape), spec.outputs, **spec.options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"model {spec.name} cannot be built with options {dict(spec.options)}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {spec.name} gave a {type(model).__name__}; it must return a torch.nn.Module")
    _check_pure(spec, model)
    model.eval()  # only training leaves values out
    _check_outputs(spec, model)
    return model


def calibrate(model: nn.Module, windows: Callable[[], Tensor]) -> None:
    """Set what a network measures on windows of training tasks, such as a front end's shift and scale."""
    for module in model.modules():
        measure = getattr(module, "calibrate", None)
        if callable(measure):
            measure(windows())


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's parameters by name, detached."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _builtin(name: str) -> Callable[..., nn.Module]:
    if name not in BUILDERS:
        advice = f"use one of {', '.join(BUILDERS)} or an import path package.module:callable"
        raise ModelError(f"unknown model {name!r}: {did_you_mean(name, BUILDERS, advice)}")
    return BUILDERS[name]


def _imported(path: str) -> Callable[..., nn.Module]:
    module_name, _, attribute = path.partition(":")
    try:
        builder = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"model {path!r} cannot be imported ({error}): "
            "check the spelling and that the module is on PYTHONPATH"
        ) from error
    if not callable(builder):
        raise ModelError(f"model {path!r} is a {type(builder).__name__}, not something to call")
    return builder


def _check_options(spec: ModelSpec, builder: Callable[..., nn.Module]) -> None:
    parameters = inspect.signature(builder).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [
        name for name, parameter in parameters.items() if parameter.kind is not parameter.POSITIONAL_ONLY
    ]
    allowed = known[2:]
    for option in spec.options:
        if option not in allowed:
            hint = did_you_mean(option, allowed, f"it takes {', '.join(allowed) or 'none'}")
            raise ModelError(f"model {spec.name} has no option {option!r}: {hint}")


def _check_pure(spec: ModelSpec, model: nn.Module) -> None:
    for name, module in model.named_modules():
        if getattr(module, "track_running_stats", False):
            raise ModelError(
                f"model {spec.name}: layer {name!r} keeps running statistics, which are no parameters; "
                "set track_running_stats=False or use a group norm"
            )
    if not any(True for _ in model.parameters()):
        raise ModelError(f"model {spec.name} has no parameters to learn")


def _check_outputs(spec: ModelSpec, model: nn.Module) -> None:
    x = torch.zeros(2, *spec.input_shape)
    try:
        with torch.no_grad():
            shape = tuple(model(x).shape)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"model {spec.name} cannot take an input of shape {tuple(spec.input_shape)}: {error}"
        ) from error
    if shape != (2, spec.outputs):
        raise ModelError(
            f"model {spec.name} gave outputs of shape {shape} for two examples; (2, {spec.outputs}) is needed"
        )
