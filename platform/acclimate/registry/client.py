"""The one door to mlflow: quiet, without telemetry, and with errors a person can act on."""

from __future__ import annotations

import logging
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from acclimate.addresses import parts_of, without_password
from acclimate.errors import AcclimateError, RegistryError
from acclimate.mishaps import as_user_error
from acclimate.registry.location import StoreLocation
from acclimate.registry.migration import migrate

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_TIMEOUT_S = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def connect(location: StoreLocation) -> MlflowClient:
    """A client of the store.

    Raises:
        RegistryError: a server does not answer, or a database cannot be opened.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for six small files
    # a server's client writes to stdout, where commands print JSON
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if location.tracking_uri.startswith(("http:", "https:")):
        _probe(location.tracking_uri)  # MLflow itself would retry for minutes before it says anything
    else:
        _listened_to(location.tracking_uri)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):  # first use of a database logs a line for each migration
        logging.getLogger(chatty).setLevel(logging.WARNING)  # after the import, which sets it itself
    if location.tracking_uri.startswith("sqlite:"):
        migrate(location.tracking_uri)
    with translated(location):
        client = MlflowClient(tracking_uri=location.tracking_uri, registry_uri=location.tracking_uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def translated(location: StoreLocation) -> Iterator[None]:
    """Turn what MLflow raises into `RegistryError` with the store's address, credentials left out."""
    from mlflow.exceptions import MlflowException

    where = f"MLflow at {without_password(location.tracking_uri)}"
    try:
        yield
    except AcclimateError:
        raise
    except MlflowException as error:
        raise RegistryError(f"{where}: {_remedied(error)}") from error
    except ModuleNotFoundError as error:
        raise RegistryError(f"{where}: its driver {error.name!r} is not installed: install it") from error
    except FileNotFoundError as error:
        raise RegistryError(
            f"{where}: {error.filename} is gone. MLflow keeps absolute paths: if this folder was moved, move "
            "it back or link its old place to the new one"
        ) from error
    except Exception as error:
        told = as_user_error(error)
        if told is None:
            raise
        raise RegistryError(f"{where}: {told}") from error


@contextmanager
def as_default(location: StoreLocation) -> Iterator[None]:
    """Make the store MLflow's process-wide default for a moment.

    MLflow's SQL registry resolves `models:/m-...` sources through the default client, whatever client asked.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(location.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before or "")
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)


def _listened_to(uri: str) -> None:
    """MLflow tries a database that does not answer again and again, for minutes."""
    parts = parts_of(uri, "tracking URI", RegistryError)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or not port:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise RegistryError(
            f"no database answers at {without_password(uri)} ({error}): start it, or correct "
            "MLFLOW_TRACKING_URI or --tracking-uri"
        ) from error


def _remedied(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "must be active" in said or "deleted" in said:
        return f"{said} It was deleted in MLflow: restore it there, or train under another name"
    return said


def _probe(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # something answers; MLflow's client will say what is wrong with it
    except OSError as error:
        raise RegistryError(
            f"no MLflow server answers at {without_password(uri)} ({error}): start it, correct "
            "MLFLOW_TRACKING_URI or --tracking-uri, or leave both out to use the embedded store"
        ) from error
