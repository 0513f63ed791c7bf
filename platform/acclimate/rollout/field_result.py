"""What the model registry learns from the field: the result on the version, and which one is champion.

`acclimate.registry.Registry` is such a registry; this room does not import it, so the service's image needs
no MLflow unless one is configured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from acclimate.rollout.domain.evidence import Decision, GateEvidence, Observation
from acclimate.rollout.domain.rollout import Rollout, State

CHAMPION = "champion"


class RegisteredVersion(Protocol):
    """What is asked of a version."""

    @property
    def content_hash(self) -> str: ...


class ModelRegistry(Protocol):
    """The three calls that end a rollout; each may be repeated."""

    def version(self, name: str, ref: str) -> RegisteredVersion: ...

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None: ...

    def set_alias(self, name: str, alias: str, version: int) -> None: ...


def write_field_result(
    registry: ModelRegistry,
    rollout: Rollout,
    observations: Sequence[Observation],
    decisions: Sequence[Decision],
) -> str:
    """Write the field result onto the version and, after success, make it champion.

    Returns:
        what was done, for the audit log. A version whose hash is not the one that was rolled out is left
        alone: its number was registered anew.
    """
    release = rollout.plan.release
    found = registry.version(release.name, str(release.version)).content_hash
    if found != release.content_hash:
        return (
            f"{release.name} version {release.version} now has content hash {found[:12]}, not the "
            f"{release.content_hash[:12]} that was rolled out: alias and tags were left as they are"
        )
    registry.set_tags(release.name, release.version, field_result(rollout, observations, decisions))
    if rollout.state is not State.DONE:
        return f"field result written onto {release.name} version {release.version}"
    registry.set_alias(release.name, CHAMPION, release.version)
    return f"field result written, {CHAMPION} moved to {release.name} version {release.version}"


def field_result(
    rollout: Rollout, observations: Sequence[Observation], decisions: Sequence[Decision]
) -> dict[str, str]:
    """Tags that say how a version did in the field; figures are of settled canaries."""
    canaries = [one for one in observations if one.arm == "canary" and one.order is not None]
    losses = [one.loss for one in canaries if one.loss is not None and not one.failure]
    result = {
        "field.result": rollout.state.value,
        "field.rollout": rollout.id,
        "field.fleet": rollout.plan.fleet,
        "field.devices": str(len(canaries)),
        "field.ended_at": f"{rollout.changed_at:.0f}",
    }
    if losses:
        result["field.loss"] = f"{sum(losses) / len(losses):.6g}"
    if canaries:
        result["field.drift_rate"] = f"{sum(one.drift for one in canaries) / len(canaries):.6g}"
        result["field.failure_rate"] = f"{sum(one.failure for one in canaries) / len(canaries):.6g}"
    loss = next((gate for gate in _latest_evidence(decisions) if gate.gate == "loss"), None)
    if loss is not None and loss.difference is not None:
        result["field.loss_difference"] = f"{loss.difference:.6g}"
        bounds = (loss.lower, loss.upper)
        result["field.loss_difference_bounds"] = " ".join(
            "none" if bound is None else f"{bound:.6g}" for bound in bounds
        )
    return result


def _latest_evidence(decisions: Sequence[Decision]) -> Sequence[GateEvidence]:
    """Of the newest decision that has any; decisions come newest first."""
    return next((decision.evidence for decision in decisions if decision.evidence), ())
