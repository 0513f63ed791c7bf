"""From what came of a campaign to a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import acclimate
from acclimate.bundle.closed_form import learner_of
from acclimate.errors import RegistryError
from acclimate.learners import under
from acclimate.privacy import epsilon
from acclimate.registry import Registry, VersionInfo
from acclimate.training.federated.moments import with_prior
from acclimate_device.federated import moments_size


def register_campaign(
    campaign: Mapping[str, Any], result: bytes, tau: float, ridge: float, tracking_uri: str | None = None
) -> VersionInfo:
    """Register the campaign's release with the last layer that its devices' moments say.

    Args:
        campaign: as the service gives it.
        result: 64-bit floats, little-endian.
        tau: examples that the fleet counts like.
        ridge: of every device's head.

    Raises:
        RegistryError: there is no such release, or the result is of another.
    """
    registry = Registry.open(tracking_uri)
    known, version = registry.fetch(campaign["name"], str(campaign["version"]))
    learner = learner_of(known)
    meta = {f"param.{name}": tensor for name, tensor in known.params.items()}
    meta |= {f"prior.{name}": tensor for name, tensor in known.prior.items()}
    vector = np.frombuffer(result, "<f8").copy()
    weight = known.params[f"{learner.head}.weight"]
    expected = moments_size(weight.shape[1] + 1, weight.shape[0])
    if version.content_hash != campaign["content_hash"] or len(vector) != expected:
        raise RegistryError(
            f"campaign {campaign['id']} was of another {version.name} version {version.version} than is "
            "registered here: register it where that version is"
        )
    learned = with_prior(learner, meta, vector, tau, ridge)
    spent = epsilon(float(campaign["noise"]), 1, float(campaign["delta"]))
    return registry.register(
        version.name,
        replace(known, params=under(learned, "param."), prior=under(learned, "prior.")),
        experiment=version.name,
        run_id=version.run_id,
        evaluation={},
        files={},
        lineage={
            "start": str(version.version),
            "campaign": str(campaign["id"]),
            "federated": "statistics",
            "federated.rounds": "1",
            "federated.devices": str(campaign["accepted"]),
            "federated.aggregator": str(campaign["aggregator"]),
            "federated.epsilon": f"{spent:.4g}",
            "federated.delta": f"{campaign['delta']:g}",
            "federated.tau": f"{tau:g}",
            "federated.ridge": f"{ridge:g}",
            "acclimate_version": acclimate.__version__,
        },
        metrics={},
    )
