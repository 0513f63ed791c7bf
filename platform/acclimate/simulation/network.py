"""The network between a device and the service: it is away for spells, and loses single requests."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from acclimate.simulation.scenario import NetworkSection
from acclimate_device.agent import Response, Transport
from acclimate_device.errors import TransportError
from acclimate_device.protocol import REPORT_PATH


class Network:
    """A transport over another, as unreliable as the scenario says.

    Attributes:
        online: no request passes while it is False.
        requests, failed: how many were made, and how many of them the network failed.
        acknowledged: ids of the reports that receipts which arrived accepted.
    """

    def __init__(self, transport: Transport, section: NetworkSection, rng: random.Random) -> None:
        self._transport, self._section, self._rng = transport, section, rng
        self._reliable = not (section.refused or section.lost or section.cut)
        self.online = True
        self.requests = self.failed = 0
        self.acknowledged: set[str] = set()

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        """As `Transport.request`; a lost answer is lost after the service did what was asked."""
        self.requests += 1
        if not self.online:
            raise self._failure(method, path, "no network")
        if self._reliable:
            return self._arrived(path, self._transport.request(method, path, headers, body, max_bytes))
        if self._rng.random() < self._section.refused:
            raise self._failure(method, path, "the connection was refused")
        answer = self._transport.request(method, path, headers, body, max_bytes)
        if self._rng.random() < self._section.lost:
            raise self._failure(method, path, "the answer was lost")
        if "Range" in headers and len(answer.body) > 1 and self._rng.random() < self._section.cut:
            self.failed += 1
            return Response(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
        return self._arrived(path, answer)

    def _arrived(self, path: str, answer: Response) -> Response:
        if path == REPORT_PATH and answer.status == 200:
            self.acknowledged.update(json.loads(answer.body)["accepted"])
        return answer

    def _failure(self, method: str, path: str, why: str) -> TransportError:
        self.failed += 1
        return TransportError(f"{method} {path}: {why}")
