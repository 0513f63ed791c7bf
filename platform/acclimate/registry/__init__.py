"""Runs, initialization versions, aliases and lineage in MLflow; the only importer of mlflow.

A version is written once and never changed: its content hash covers every bit a device will run. Aliases
(`candidate`, later `champion`) move; whoever deploys pins a version number and its content hash.
"""

from acclimate.registry.location import StoreLocation, locate
from acclimate.registry.runs import RunInfo, RunRecorder
from acclimate.registry.store import CANDIDATE, Registry
from acclimate.registry.versions import VersionInfo

__all__ = [
    "CANDIDATE",
    "Registry",
    "RunInfo",
    "RunRecorder",
    "StoreLocation",
    "VersionInfo",
    "locate",
]
