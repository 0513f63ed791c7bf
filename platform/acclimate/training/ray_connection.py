"""Joining a Ray cluster, or starting a Ray of this machine's own; and reading what it computed."""

from __future__ import annotations

import importlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.exceptions import RayError, RayTaskError

from acclimate.addresses import parts_of
from acclimate.errors import AcclimateError, TrainingError
from acclimate.training.stopping import handlers_kept

_PROBE_S = 5.0


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[None]:
    """In the cluster at `address`, or in a Ray of our own with `workers` slots, until the context ends.

    A process that is connected already stays where it is, also afterwards.

    Args:
        address: `auto` on a node of the cluster, `host:6379`, or `ray://host:10001` from outside. Where the
            cluster asks for a token, Ray needs RAY_AUTH_MODE=token and looks for it in RAY_AUTH_TOKEN,
            RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token.

    Raises:
        TrainingError: the cluster cannot be joined.
    """
    if ray.is_initialized():
        yield
        return
    with handlers_kept():  # Ray's own would end this process at SIGTERM, between two checkpoints
        _connect(address, workers)
    try:
        yield
    finally:
        ray.shutdown()
        _read_authentication()  # the token went with our Ray; this process may start or join another


def result_of(reference: Any) -> Any:
    """What a task or actor gave.

    Raises:
        AcclimateError: what it raised for a user to mend, as it raised it; all else comes as Ray's error.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AcclimateError):
            raise error.cause from None
        raise


def _connect(address: str | None, workers: int) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        with _private_to_this_machine(), _environment(PYTHONPATH=_imports_as_here()):
            # "local", and never a cluster that some earlier process left an address file of
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        return
    if address.startswith(("http://", "https://")):
        raise TrainingError(
            f"{address} is a Jobs API: send the recipe there with `acclimate submit --address {address}`, or "
            "give the cluster itself: auto, host:6379 or ray://host:10001"
        )
    _probe(address)
    _read_authentication()
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise TrainingError(
            f"no Ray cluster can be joined at {address} ({first_line}): is it up, is its Ray "
            f"{ray.__version__}, and if it asks for a token, are RAY_AUTH_MODE=token and RAY_AUTH_TOKEN set?"
        ) from error


def _probe(address: str) -> None:
    """Ask whether anyone listens there, and speaks gRPC as Ray does: Ray itself would try for minutes.

    Raises:
        TrainingError: nobody does.
    """
    where = parts_of(address if "://" in address else f"//{address}", "--address", TrainingError)
    host, port = where.hostname, where.port
    if host is None or port is None:
        return  # `auto`, or a name that Ray resolves
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except OSError as error:
        raise TrainingError(
            f"nothing answers at {host}:{port} ({error}): is the Ray cluster up, and is that the port of its "
            "head (6379), or with ray:// of its client server (10001)?"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # who asks without a certificate is not answered
    grpc: Any = importlib.import_module("grpc")
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_PROBE_S)
        except grpc.FutureTimeoutError:
            raise TrainingError(
                f"what answers at {host}:{port} is no Ray cluster: give the port of its head (6379), or with "
                "ray:// of its client server (10001)"
            ) from None


def _imports_as_here() -> str:
    """For PYTHONPATH: processes started with it import what this one can, the user's own models included."""
    return os.pathsep.join(os.path.abspath(path) for path in sys.path)


@contextmanager
def _private_to_this_machine() -> Iterator[None]:
    """A Ray started meanwhile listens on the loopback interface alone, and asks for a token.

    Ray does the first by itself on other systems than Linux; here that switch has no public name, and asking
    for the address 127.0.0.1 is turned into the machine's own.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with _environment(
            **{ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"},
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=secrets.token_hex(32),
        ):
            _read_authentication()
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _read_authentication() -> None:
    """Ray reads these variables once a process, when it is imported; they may be others by now."""
    core: Any = importlib.import_module("ray._raylet")
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables for this process and those that it starts, until the context ends."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
