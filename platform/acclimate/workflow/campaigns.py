"""From what came of a campaign to a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import acclimate
from acclimate.bundle.closed_form import learner_of
from acclimate.bundle.step import StepSignature
from acclimate.errors import RecipeError, RegistryError
from acclimate.initialization import Initialization
from acclimate.learners import under
from acclimate.privacy import epsilon
from acclimate.registry import Registry, VersionInfo
from acclimate.training.federated.moments import with_prior
from acclimate_device.federated import moments_size

Vector = NDArray[np.float64]


def asked_of(initialization: Initialization) -> dict[str, int]:
    """What a campaign of a version asks for: the shape of its last layer, or how many parameters move.

    Raises:
        RecipeError: there is neither.
    """
    if "last.factor" in initialization.prior:
        weight = initialization.params[f"{learner_of(initialization).head}.weight"]
        return {"features": weight.shape[1] + 1, "outputs": weight.shape[0]}
    if initialization.prior:
        raise RecipeError(
            "devices have nothing to give of heads in closed form without a last layer: train a version with "
            "learner.heads: last-layer"
        )
    return {"parameters": sum(initialization.params[name].numel() for name in _moving(initialization))}


def register_campaign(
    campaign: Mapping[str, Any],
    result: bytes,
    tau: float,
    ridge: float,
    rate: float,
    tracking_uri: str | None = None,
) -> VersionInfo:
    """Register the campaign's release with what its devices' contributions make of it.

    Args:
        campaign: as the service gives it.
        result: 64-bit floats, little-endian.
        tau: of moments: examples that the fleet counts like.
        ridge: of moments: of every device's head.
        rate: of gradients: how much of the devices' mean way the start goes.

    Raises:
        RegistryError: there is no such release, or the result is of another.
    """
    registry = Registry.open(tracking_uri)
    known, version = registry.fetch(campaign["name"], str(campaign["version"]))
    vector = np.frombuffer(result, "<f8").copy()
    shape = asked_of(known)
    expected = shape.get("parameters") or moments_size(shape["features"], shape["outputs"])
    if version.content_hash != campaign["content_hash"] or len(vector) != expected:
        raise RegistryError(
            f"campaign {campaign['id']} was of another {version.name} version {version.version} than is "
            "registered here: register it where that version is"
        )
    moved = _moved(known, vector, rate) if "parameters" in shape else _solved(known, vector, tau, ridge)
    chosen = {"rate": f"{rate:g}"} if "parameters" in shape else {"tau": f"{tau:g}", "ridge": f"{ridge:g}"}
    spent = epsilon(float(campaign["noise"]), 1, float(campaign["delta"]))
    return registry.register(
        version.name,
        moved,
        experiment=version.name,
        run_id=version.run_id,
        evaluation={},
        files={},
        lineage={
            "start": str(version.version),
            "campaign": str(campaign["id"]),
            "federated": "gradients" if "parameters" in shape else "statistics",
            "federated.rounds": "1",
            "federated.devices": str(campaign["accepted"]),
            "federated.aggregator": str(campaign["aggregator"]),
            "federated.secure": str(bool(campaign["secure"])).lower(),
            "federated.epsilon": f"{spent:.4g}",
            "federated.delta": f"{campaign['delta']:g}",
            **{f"federated.{name}": value for name, value in chosen.items()},
            "acclimate_version": acclimate.__version__,
        },
        metrics={},
    )


def _solved(known: Initialization, vector: Vector, tau: float, ridge: float) -> Initialization:
    """With the last layer that the fleet's moments say."""
    meta = {f"param.{name}": tensor for name, tensor in known.params.items()}
    meta |= {f"prior.{name}": tensor for name, tensor in known.prior.items()}
    learned = with_prior(learner_of(known), meta, vector, tau, ridge)
    return replace(known, params=under(learned, "param."), prior=under(learned, "prior."))


def _moved(known: Initialization, vector: Vector, rate: float) -> Initialization:
    """With a start that went the devices' mean way (Nichol et al. 2018, https://arxiv.org/abs/1803.02999)."""
    params, at = dict(known.params), 0
    for name in _moving(known):
        old = params[name]
        part = torch.from_numpy(vector[at : at + old.numel()]).reshape(old.shape)
        params[name] = (old.double() - rate * part).to(old.dtype)
        at += old.numel()
    return replace(known, params=params)


def _moving(known: Initialization) -> tuple[str, ...]:
    """As in the bundle that devices run."""
    return StepSignature.of(known).trainable
