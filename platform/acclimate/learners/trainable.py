"""Which parameters adaptation moves."""

from __future__ import annotations

from torch import nn

from acclimate.errors import ModelError
from acclimate.nearest import did_you_mean


def trainable_names(model: nn.Module, trainable: str | tuple[str, ...]) -> tuple[str, ...]:
    """Parameter names for `all`, `head`, `biases` or a list of names, in the model's order.

    The head is the submodule `head`, or else the last module that has parameters of its own.

    Raises:
        ModelError: a name is unknown, or nothing is left to adapt.
    """
    every = [name for name, _ in model.named_parameters()]
    if trainable == "all":
        return tuple(every)
    if trainable == "head":
        return tuple(name for name in every if name.startswith(_head(model)))
    if trainable == "biases":
        chosen = tuple(name for name in every if name.rpartition(".")[2] == "bias")
        if not chosen:
            raise ModelError(
                "learner.trainable is 'biases' but the model has none: name the parameters instead"
            )
        return chosen
    wanted = (trainable,) if isinstance(trainable, str) else trainable
    for name in wanted:
        if name not in every:
            advice = f"use all, head, biases, or names from {', '.join(every)}"
            hint = did_you_mean(name, [*every, "all", "head", "biases"], advice)
            raise ModelError(f"learner.trainable names {name!r}, which is no parameter of the model: {hint}")
    if not wanted:
        raise ModelError(
            "learner.trainable is an empty list: adaptation would do nothing; use all, head or biases"
        )
    return tuple(name for name in every if name in wanted)


def _head(model: nn.Module) -> str:
    if any(True for _ in getattr(model, "head", nn.Identity()).parameters()):
        return "head."
    owners = [name for name, module in model.named_modules() if module._parameters]
    return f"{owners[-1]}." if owners[-1] else ""
