"""The database of the rollout service: `open_store(url)` over SQLite or PostgreSQL."""

from __future__ import annotations

from acclimate.rollout.store.contract import (
    ConflictError,
    Counts,
    EnrolmentRefusedError,
    FleetChanges,
    Lease,
    LeaseLostError,
    NotFoundError,
    Step,
    Taken,
)
from acclimate.rollout.store.sql import Store, open_store

__all__ = [
    "ConflictError",
    "Counts",
    "EnrolmentRefusedError",
    "FleetChanges",
    "Lease",
    "LeaseLostError",
    "NotFoundError",
    "Step",
    "Store",
    "Taken",
    "open_store",
]
