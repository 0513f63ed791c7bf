"""The MLflow pages for the embedded store."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from acclimate.errors import RegistryError
from acclimate.registry.location import StoreLocation


def command(port: int) -> list[str]:
    """The command line of an MLflow server on loopback only: it has no login."""
    return [
        sys.executable,
        *("-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
    ]


def environment(location: StoreLocation) -> Mapping[str, str]:
    """The server's environment: the store (its URI may hold a password, so not on the command line), no
    telemetry, and none of the job queue's eight further processes.

    Raises:
        RegistryError: the store is a server already.
    """
    if location.artifact_root is None:
        raise RegistryError(f"{location.tracking_uri} is a server already: open it in a browser")
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": location.tracking_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": location.artifact_root,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
