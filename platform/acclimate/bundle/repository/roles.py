"""Which key signs what, how long a signature holds, and when to worry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

KeyName = Literal["root", "targets", "online"]
KEYS: tuple[KeyName, ...] = get_args(KeyName)
ROLES_OF_KEY: dict[KeyName, tuple[str, ...]] = {
    "root": (Root.type,),
    "targets": (Targets.type,),
    # One key for both: whoever can steal one from the service can steal the other.
    "online": (Snapshot.type, Timestamp.type),
}


@dataclass(frozen=True)
class Term:
    """How long a role's signature holds, and how long before its end it should be renewed."""

    holds: timedelta
    renew_before: timedelta


TERMS: dict[str, Term] = {
    Root.type: Term(timedelta(days=365), timedelta(days=60)),
    Targets.type: Term(timedelta(days=180), timedelta(days=30)),
    Snapshot.type: Term(timedelta(days=14), timedelta(days=7)),
    # Bounds how long someone in the middle can hide an update from a device.
    Timestamp.type: Term(timedelta(days=2), timedelta(days=1)),
}
