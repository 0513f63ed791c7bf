"""A real `acclimate serve` process for tests: started on a free port, ended or killed by its own pid."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port

ADMIN = "acl_for-tests-only-0123456789abcdef"


class Served:
    """One process of the service over one home folder; `start` and `kill` may alternate.

    Args:
        authority: PEM file of who vouches for the certificate, where the settings make it serve HTTPS.
    """

    def __init__(self, home: Path, database_url: str = "", authority: Path | None = None) -> None:
        self.home, self.database_url = home, database_url
        self.port = free_port()
        self.url = f"https://localhost:{self.port}" if authority else f"http://127.0.0.1:{self.port}"
        self.trust = ssl.create_default_context(cafile=authority) if authority else True
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def admin(self) -> dict[str, str]:
        """Headers of the administrator."""
        return {"Authorization": f"Bearer {ADMIN}"}

    @property
    def log(self) -> str:
        return (self.home / "service.log").read_text()

    def start(self, **settings: str) -> None:
        """Start, and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "ACCLIMATE_HOME": str(self.home),
            "ACCLIMATE_ADMIN_TOKEN": ADMIN,
            "ACCLIMATE_DATABASE_URL": self.database_url,
            "ACCLIMATE_OPERATOR_RATE": "0",
            "ACCLIMATE_ANONYMOUS_RATE": "0",
            "ACCLIMATE_DEVICE_RATE": "0",
            "ACCLIMATE_TICK_S": "0.2",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **settings,
        }
        command = [sys.executable, "-m", "acclimate", "serve", "--port", str(self.port)]
        with open(self.home / "service.log", "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        for _ in range(400):
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2, verify=self.trust).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError(self.log[-3000:])
            time.sleep(0.1)
        raise RuntimeError(f"not ready: {self.log[-3000:]}")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the service as its administrator; what it answers."""
        asked = f"{self.url}/api/v1{path}"
        answer = httpx.request(method, asked, json=body, headers=self.admin, timeout=20)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}

    def kill(self) -> None:
        """End it without warning."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """End it as an init system does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
