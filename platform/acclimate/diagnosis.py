"""Looks at this machine as the commands will meet it: what is there, what is not, and what to do about it.

Every check reads or asks and changes nothing; none waits longer than `TIMEOUT_S` for an answer.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from acclimate.addresses import parts_of, without_password
from acclimate.errors import AcclimateError, SettingsError
from acclimate.home import home
from acclimate.rollout.settings import ServiceSettings

TIMEOUT_S = 3.0
LITTLE_DISK_BYTES = 2 * 1024**3
LITTLE_MEMORY_BYTES = 4 * 1024**3

GATEWAY = "gateway"  # of acclimate-device; the others are of acclimate
# What each extra's commands import first; the rest of an extra comes with these.
EXTRAS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "train": (("torch", "ray", "mlflow", "pyarrow", "onnxruntime"), "train, evaluate, data, export"),
    "sign": (("tuf", "cryptography"), "repo"),
    "rollout": (("fastapi", "sqlalchemy", "uvicorn", "alembic", "httpx"), "serve, fleet, device, rollout"),
    "cluster": (("kubernetes",), "work on a Kubernetes cluster"),
    "pipelines": (("kfp",), "compile the Kubeflow pipeline"),
    "registry": (("mlflow",), "serve: NAME@ALIAS, and results from the field written onto versions"),
    "mlflow-server": (("flask_wtf", "psycopg"), "MLflow's own server with a login, on PostgreSQL"),
    "traces": (
        (
            "opentelemetry.sdk",
            "opentelemetry.exporter.otlp.proto.http",
            "opentelemetry.instrumentation.asgi",
        ),
        "traces over OTLP",
    ),
    "mqtt": (("paho.mqtt",), "bridge: devices that speak MQTT"),
    "s3": (("boto3", "s3fs"), "recordings, bundles and runs in an S3-compatible store"),
    "docs": (("sphinx", "myst_parser", "furo"), "build the documentation"),
    GATEWAY: (("numpy", "onnxruntime", "tuf", "cryptography"), "the device SDK: run it here, simulate"),
}
Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        check: what was looked at.
        level: `error` stops commands that are installed or configured; `note` is only good to know.
        found: what is there, with values.
        remedy: what to do; empty if nothing is.
    """

    check: str
    level: Level
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Configuration:
    """Where commands will look, as the environment and `acclimate login` say."""

    home: Path
    tracking_uri: str
    ray_address: str
    service_url: str
    service_asked_for: bool
    settings: ServiceSettings | SettingsError
    traces_url: str

    @property
    def port(self) -> int:
        """Where `acclimate serve` would listen."""
        return self.settings.port if isinstance(self.settings, ServiceSettings) else 8080


def configuration(environ: Mapping[str, str], saved_url: str | None) -> Configuration:
    """Read where things are; `saved_url` is the service of the last `acclimate login`."""
    url = environ.get("ACCLIMATE_URL") or saved_url
    settings = _settings(environ)
    port = settings.port if isinstance(settings, ServiceSettings) else 8080
    return Configuration(
        home=home(),
        tracking_uri=environ.get("MLFLOW_TRACKING_URI", "").strip(),
        ray_address=environ.get("RAY_ADDRESS", "").strip(),
        service_url=url or f"http://127.0.0.1:{port}",
        service_asked_for=bool(url),
        settings=settings,
        traces_url=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
        if (environ.get("ACCLIMATE_TRACES") or "off") != "off"
        else "",
    )


def _settings(environ: Mapping[str, str]) -> ServiceSettings | SettingsError:
    try:
        return ServiceSettings.from_environment(environ)
    except SettingsError as error:
        return error


def diagnose(where: Configuration) -> Iterator[Finding]:
    """Every finding, in the order in which a person would mend them."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _extras,
        _machine,
        lambda: _home(where.home),
        lambda: _registry(where.tracking_uri),
        lambda: _ray(where.ray_address),
        lambda: _service(where),
        lambda: _traces(where.traces_url),
    )
    for check in checks:
        try:
            yield from check()
        except SettingsError as error:
            yield Finding("settings", "error", str(error), "correct the variable")


def _python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} at {sys.executable}"
    yield Finding("Python", "ok", found)
    if sys.prefix == sys.base_prefix:
        remedy = "python3 -m venv .venv && . .venv/bin/activate, so that other programs' packages stay apart"
        yield Finding("environment", "note", "this is no virtual environment", remedy)


def _extras() -> Iterator[Finding]:
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [name for name in modules if not _installed(name)]
        if not missing:
            yield Finding(f"extra {extra}", "ok", f"installed: {purpose}")
        else:
            partly = len(missing) < len(modules)
            yield Finding(
                f"extra {extra}",
                "warning" if partly else "note",
                f"{', '.join(missing)} missing: {purpose}",
                f"pip install 'acclimate{'-device' if extra == GATEWAY else ''}[{extra}]'",
            )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


def _machine() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{os.cpu_count()} cores, {memory / 1024**3:.1f} GiB memory, {platform.platform()}"
    if memory < LITTLE_MEMORY_BYTES:
        remedy = "train with --workers 0 here, or on a cluster: each Ray process takes about 0.3 GiB"
        yield Finding("machine", "warning", found, remedy)
    else:
        yield Finding("machine", "ok", found)


def _home(path: Path) -> Iterator[Finding]:
    existing = next(one for one in (path, *path.parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        what = "is not a folder" if not existing.is_dir() else "cannot be written to"
        yield Finding(
            "data directory", "error", f"{existing} {what}", "set ACCLIMATE_HOME to a folder of yours"
        )
        return
    free = shutil.disk_usage(existing).free
    found = f"{path}{'' if path.exists() else ' (made when needed)'}, {free / 1024**3:.1f} GiB free"
    if free < LITTLE_DISK_BYTES:
        yield Finding("data directory", "warning", found, "free some space, or set ACCLIMATE_HOME elsewhere")
    else:
        yield Finding("data directory", "ok", found)


def _registry(tracking_uri: str) -> Iterator[Finding]:
    from acclimate.registry.location import locate

    if importlib.util.find_spec("mlflow") is None:
        return
    if not tracking_uri:
        yield Finding("MLflow registry", "ok", f"embedded: {home() / 'mlflow.db'}")
        return
    try:
        location = locate(tracking_uri)
    except AcclimateError as error:
        yield Finding("MLflow registry", "error", str(error), "correct MLFLOW_TRACKING_URI")
        return
    shown = without_password(tracking_uri)
    if not location.is_server or not tracking_uri.startswith("http"):
        yield Finding("MLflow registry", "ok", f"{shown} (a database; not opened here)")
        return
    status = _status(f"{tracking_uri.rstrip('/')}/health")
    if status == 200:
        yield Finding("MLflow registry", "ok", f"{shown} answers")
    else:
        remedy = "start it, correct MLFLOW_TRACKING_URI, or unset it to use the embedded registry"
        yield Finding("MLflow registry", "error", f"{shown} {_said(status)}", remedy)


def _ray(address: str) -> Iterator[Finding]:
    if importlib.util.find_spec("ray") is None:
        return
    if not address or address in ("local", "auto"):
        yield Finding("Ray", "ok", "no cluster is named: training starts Ray on this machine and ends it")
        return
    parts = parts_of(address if "://" in address else f"ray-gcs://{address}", "RAY_ADDRESS")
    default = {"http": 80, "https": 443, "ray": 10001}.get(parts.scheme, 6379)
    host = parts.hostname or ""
    if _listens(host, parts.port or default):
        yield Finding("Ray", "ok", f"{without_password(address)} answers")
    else:
        remedy = (
            "start the cluster or its port-forward, correct RAY_ADDRESS, or unset it to train on this machine"
        )
        yield Finding("Ray", "error", f"nothing listens at {without_password(address)}", remedy)


def _service(where: Configuration) -> Iterator[Finding]:
    if isinstance(where.settings, SettingsError):
        yield Finding(
            "settings",
            "error",
            str(where.settings),
            "correct the variable: the reference of settings names each range",
        )
    parts_of(where.service_url, "ACCLIMATE_URL")
    status = _status(f"{where.service_url.rstrip('/')}/healthz")
    shown = without_password(where.service_url)
    if status == 200:
        yield Finding("rollout service", "ok", f"{shown} answers")
        yield from _inside_service(where.service_url)
    elif where.service_asked_for:
        remedy = "start it with `acclimate serve`, or correct ACCLIMATE_URL / `acclimate login --url`"
        yield Finding("rollout service", "error", f"{shown} {_said(status)}", remedy)
    elif _listens("127.0.0.1", where.port):
        found = f"port {where.port}, where `acclimate serve` would listen, is taken by another program"
        yield Finding("rollout service", "warning", found, "serve elsewhere: acclimate serve --port 8081")
    else:
        found = f"none runs here; port {where.port} is free for it"
        yield Finding(
            "rollout service", "note", found, "acclimate serve, once there is a version to roll out"
        )


def _inside_service(url: str) -> Iterator[Finding]:
    """What the running service finds of itself, where there is a token that may ask."""
    try:
        from acclimate.client import connect

        service = connect()
        found = service.get("/health") if service.url == url.rstrip("/") else []
    except (ModuleNotFoundError, AcclimateError) as error:
        if isinstance(error, AcclimateError):
            remedy = "acclimate login, with a token that sees all fleets"
            yield Finding("service: inside", "note", f"not looked at: {error}", remedy)
        return
    for one in found:
        yield Finding(f"service: {one['check']}", one["level"], one["found"], one["remedy"])


def _traces(url: str) -> Iterator[Finding]:
    if not url:
        return
    parts = parts_of(url, "OTEL_EXPORTER_OTLP_ENDPOINT")
    shown = without_password(url)
    if _listens(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)):
        yield Finding("traces", "ok", f"{shown} listens")
    else:
        remedy = "start the collector, correct OTEL_EXPORTER_OTLP_ENDPOINT, or unset ACCLIMATE_TRACES"
        yield Finding("traces", "error", f"nothing listens at {shown}", remedy)


def _status(url: str) -> int:
    """What a GET is answered with; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return 0


def _said(status: int) -> str:
    return f"answered {status}" if status else "does not answer"


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return True
    except OSError:
        return False
