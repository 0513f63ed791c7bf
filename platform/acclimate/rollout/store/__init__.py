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
    Store,
    Taken,
)
from acclimate.rollout.store.sql import SqlStore, open_store

__all__ = [
    "ConflictError",
    "Counts",
    "EnrolmentRefusedError",
    "FleetChanges",
    "Lease",
    "LeaseLostError",
    "NotFoundError",
    "SqlStore",
    "Step",
    "Store",
    "Taken",
    "open_store",
]
