"""A rollout service over HTTP: one that runs already, or one started here in a process of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from acclimate.client import ServiceClient
from acclimate.errors import RolloutError, ScenarioError
from acclimate.rollout.bodies import PlanBody
from acclimate.simulation.world import RolloutStatus, summed
from acclimate_device.agent import HttpTransport, Transport
from acclimate_device.protocol import Release

_START_S = 60.0
_STOP_S = 30.0
_TIMEOUT_S = 30.0


class ServedWorld:
    """A `World` on the wall clock: a service at `url`, reached as any device and any operator reaches it.

    Args:
        token: an operator's API token.
        root: the trusted root of the repository that the service serves.
        timeout_s: of devices' requests.
        patience_s: how long the operator tries again while the service is away.
    """

    def __init__(
        self, url: str, token: str, root: bytes, timeout_s: float = _TIMEOUT_S, patience_s: float = 0.0
    ) -> None:
        self.clock, self.root, self.url = time.time, root, url
        self._timeout_s = timeout_s
        self.operator = HttpOperator(url, token, patience_s)

    def connect(self) -> Transport:
        return HttpTransport(self.url, timeout_s=self._timeout_s)


class HttpOperator:
    """An `Operator` over the REST interface."""

    def __init__(self, url: str, token: str, patience_s: float) -> None:
        self._service = ServiceClient(url, token, patience_s)

    def add_fleet(self, name: str, poll_s: float) -> None:
        self._service.post("/fleets", {"name": name, "poll_interval_s": poll_s})

    def set_baseline(self, fleet: str, release: Release) -> None:
        self._service.put(f"/fleets/{fleet}/baseline", {"release": f"{release.name}@{release.version}"})

    def enrolment_token(self, fleet: str, devices: int) -> str:
        return str(self._service.post(f"/fleets/{fleet}/enrolment-tokens", {"quota": devices})["token"])

    def roll_out(self, fleet: str, plan: PlanBody) -> str:
        body = plan.model_dump(mode="json")
        identity = str(self._service.post(f"/fleets/{fleet}/rollouts", body)["rollout"]["id"])
        try:
            self._service.post(f"/rollouts/{identity}/start")
        except RolloutError:
            if self.status(identity).state == "draft":  # else only the answer of an earlier try was lost
                raise
        return identity

    def status(self, rollout: str) -> RolloutStatus:
        found = self._service.get(f"/rollouts/{rollout}")["rollout"]
        decisions = self._service.get(f"/rollouts/{rollout}/decisions", limit=1)
        reason = str(decisions[0]["reason"]) if decisions else ""
        return RolloutStatus(str(found["state"]), len(found["opened"]), reason)

    def operate(self, rollout: str, operation: str, reason: str) -> None:
        """Do one operation to a rollout, `promote` or `rollback` for example, on a person's word."""
        self._service.post(f"/rollouts/{rollout}/{operation}", {"reason": reason})

    def counted(self, fleet: str) -> dict[str, float]:
        return summed(self._service.get(f"/fleets/{fleet}/counts"))


class ServiceProcess:
    """`acclimate serve` in a process of its own, on a free port of this machine.

    Args:
        home: its folder.
        database_url: SQLite under `home` unless given.
        settings: further settings by their environment names without the prefix, such as `TICK_S`.

    Attributes:
        token: an administrator's.
    """

    def __init__(self, home: Path, database_url: str = "", **settings: str) -> None:
        self.home, self.token, self.port = home, f"acl_{secrets.token_urlsafe(32)}", _free_port()
        given = {"HOME": str(home), "DATABASE_URL": database_url, "ADMIN_TOKEN": self.token, **settings}
        self._environment = os.environ | {
            f"ACCLIMATE_{name}": value for name, value in given.items() if value
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return once it is ready.

        Raises:
            ScenarioError: it ended, or was not ready in time; with the end of its log.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "acclimate", "serve", "--port", str(self.port)]
        with (self.home / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        deadline = time.monotonic() + _START_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = (self.home / "serve.log").read_text(errors="replace")[-2000:]
                raise ScenarioError(f"`acclimate serve` did not become ready: {said}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0).is_success
        except httpx.HTTPError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
