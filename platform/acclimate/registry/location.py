"""Where runs and versions are kept: embedded SQLite by default, any MLflow tracking URI on request."""

from __future__ import annotations

import os
from dataclasses import dataclass

from acclimate.addresses import parts_of
from acclimate.errors import RegistryError
from acclimate.files import sqlite_file, sqlite_url
from acclimate.home import home, made_home

_SERVERS = ("http", "https", "databricks")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class StoreLocation:
    """An MLflow store.

    Attributes:
        tracking_uri: of the tracking store and the model registry.
        artifact_root: where new experiments put files; None where a server decides.
    """

    tracking_uri: str
    artifact_root: str | None

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server answers, so that its own pages can be opened."""
        return self.artifact_root is None


def locate(tracking_uri: str | None = None) -> StoreLocation:
    """The store to use: the argument, else `MLFLOW_TRACKING_URI`, else SQLite under `home()`.

    Raises:
        RegistryError: the URI names a kind of store that cannot hold a model registry, or a folder that is
            not there: whoever asks what a store holds must not make one by a slip.
    """
    uri = (tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")).strip()
    if not uri:
        uri = sqlite_url(made_home() / "mlflow.db")
    scheme = parts_of(uri, "tracking URI", RegistryError).scheme.partition("+")[0] or uri
    if scheme in _SERVERS:
        return StoreLocation(uri, None)
    if scheme == "sqlite" and uri.rpartition("sqlite://")[2] in ("", "/", "/:memory:"):
        raise RegistryError(f"tracking URI {uri!r} is memory, which would be lost: sqlite:////path/mlflow.db")
    file = sqlite_file(uri)
    if file is not None and not file.parent.is_dir():
        remedy = "make it, or check the name"
        raise RegistryError(f"tracking URI {uri!r}: no folder {file.parent} is there: {remedy}")
    if scheme in _DATABASES:
        return StoreLocation(uri, str(home() / "artifacts"))
    raise RegistryError(
        f"tracking URI {uri!r} is neither a server ({', '.join(_SERVERS)}) nor a database "
        f"({', '.join(_DATABASES)}): give for example http://127.0.0.1:5000 or sqlite:////path/mlflow.db"
    )
