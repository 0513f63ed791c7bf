"""The MLflow pages for the embedded store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from acclimate.errors import RegistryError
from acclimate.registry.location import StoreLocation

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0


@contextmanager
def serving(location: StoreLocation, port: int = 0) -> Iterator[str]:
    """Serve the store's pages meanwhile; gives their URL once they answer.

    Args:
        port: on loopback; 0 picks a free one.

    Raises:
        RegistryError: the port is taken, or the server does not start.
    """
    port = _free_port(port)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        # a session of its own, so that Ctrl-C reaches us alone and we end the server and its workers together
        process = subprocess.Popen(
            command(port), env=environment(location), stdout=log, stderr=log, start_new_session=True
        )
        try:
            if not _answers(process, url):
                log.seek(0)
                raise RegistryError(f"MLflow did not start at {url}: {log.read()[-2000:].strip()}")
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


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


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RegistryError(f"port {port} is taken ({error}): give another with --port, or 0") from error
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False
