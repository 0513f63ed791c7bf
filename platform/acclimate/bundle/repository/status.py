"""How a repository stands: versions, terms, keys and releases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from tuf.api.metadata import Root, Targets

from acclimate.bundle.repository.roles import TERMS
from acclimate.bundle.repository.storage import Storage
from acclimate.errors import BundleError

State = Literal["valid", "renew", "expired"]


@dataclass(frozen=True)
class RoleStatus:
    """One role.

    Attributes:
        state: `renew` when the end of its term is near, `expired` when devices refuse it.
        keys: ids of the keys that may sign it.
        threshold: how many of them must.
    """

    role: str
    version: int
    expires: datetime
    state: State
    keys: tuple[str, ...]
    threshold: int


@dataclass(frozen=True)
class RepositoryStatus:
    """All roles, and the releases that are published, as `<name>/<version>`."""

    roles: tuple[RoleStatus, ...]
    releases: tuple[str, ...]

    @property
    def worst(self) -> State:
        """The most urgent state of any role."""
        states = {role.state for role in self.roles}
        return "expired" if "expired" in states else "renew" if "renew" in states else "valid"


def status(directory: Path, now: datetime) -> RepositoryStatus:
    """Read every role's newest metadata.

    Raises:
        BundleError: there is no repository.
    """
    storage = Storage(directory)
    if not storage.exists:
        raise BundleError(f"{directory} holds no repository: make one with `acclimate repo init {directory}`")
    newest = {role: storage.newest(role) for role in TERMS}
    root: Root = newest[Root.type].signed
    targets: Targets = newest[Targets.type].signed
    roles = tuple(
        RoleStatus(
            role=role,
            version=metadata.signed.version,
            expires=metadata.signed.expires,
            state=_state(role, metadata.signed.expires, now),
            keys=tuple(root.get_delegated_role(role).keyids),
            threshold=root.get_delegated_role(role).threshold,
        )
        for role, metadata in newest.items()
    )
    return RepositoryStatus(roles, tuple(sorted({path.rpartition("/")[0] for path in targets.targets})))


def _state(role: str, expires: datetime, now: datetime) -> State:
    if expires <= now:
        return "expired"
    return "renew" if expires - now <= TERMS[role].renew_before else "valid"
