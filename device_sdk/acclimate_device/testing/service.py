"""A rollout service in memory, speaking the protocol with real signatures: a `Transport` for tests.

service = SimulatedService(SimulatedRepository())
agent = Agent(service, flash, service.repository.root, metadata_folder)
agent.service.enrol(service.token, "", {}, "")
service.assign("run", release)
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate_device.agent.identity import verifier
from acclimate_device.agent.transport import Response
from acclimate_device.errors import TransportError, UntrustedError
from acclimate_device.protocol import (
    ENROLMENT_PATH,
    KEY_PATH,
    LIMITS,
    PROBLEM_PREFIX,
    REPORT_PATH,
    REPOSITORY_PATH,
    STATE_PATH,
    TOKEN_PATH,
    Action,
    DesiredState,
    Enrolled,
    Enrolment,
    Envelope,
    KeyChange,
    ProblemName,
    PublicKey,
    Receipt,
    Release,
    Report,
    ReportBatch,
    Token,
    TokenRequest,
    dumps,
    loads,
    seal,
    unseal,
    unverified,
)
from acclimate_device.testing.repository import SimulatedRepository


class SimulatedService:
    """One fleet of one device.

    Args:
        repository: served below the service.
        clock: the service's Unix seconds.

    Attributes:
        token: the one-time token that enrols.
        state: the desired state; `assign` changes it, or put any you like.
        envelope: sent as it is instead of a freshly signed `state`, if not None.
        reports: what was accepted, by id.
        offline: every request fails while it is True.
        requests: how many came.
    """

    def __init__(self, repository: SimulatedRepository, clock: Callable[[], float] = time.time) -> None:
        self.repository, self.clock = repository, clock
        self.key = Ed25519PrivateKey.generate()
        self.public = PublicKey.of(self.key.public_key().public_bytes_raw())
        self.token = "one-time-token"
        self.state = DesiredState("device-1", "fleet", 1, "hold")
        self.envelope: bytes | None = None
        self.reports: dict[str, Report] = {}
        self.offline = False
        self.requests = 0
        self._device_key: PublicKey | None = None
        self._bearers: dict[str, float] = {}
        self._nonces: set[str] = set()

    def assign(self, action: Action, release: Release | None = None) -> None:
        """Want something new of the device."""
        self.state = DesiredState("device-1", "fleet", self.state.counter + 1, action, release)

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        self.requests += 1
        if self.offline:
            raise TransportError(f"{method} {path}: the network is down")
        if path == ENROLMENT_PATH:
            return self._enrol(loads(Envelope, body or b"", LIMITS.envelope_bytes))
        if path == KEY_PATH:
            return self._change_key(loads(Envelope, body or b"", LIMITS.envelope_bytes))
        if path == TOKEN_PATH:
            return self._give_token(loads(Envelope, body or b"", LIMITS.envelope_bytes))
        bearer = headers.get("Authorization", "").removeprefix("Bearer ")
        if self._bearers.get(bearer, 0.0) < self.clock():
            return self._problem(401, "token-expired")
        if path == STATE_PATH:
            return self._give_state(headers.get("If-None-Match", ""))
        if path == REPORT_PATH:
            return self._take_reports(headers, body or b"")
        try:
            return self.repository.get(path.removeprefix(f"{REPOSITORY_PATH}/"), headers, max_bytes)
        except TransportError as error:
            if error.status != 404:
                raise
            return self._problem(404, "not-found")

    def _enrol(self, envelope: Envelope) -> Response:
        claimed = unverified(envelope, Enrolment).public_key
        message = unseal(envelope, Enrolment, verifier((claimed,)))
        if message.token != self.token or self._device_key not in (None, message.public_key):
            return self._problem(403, "enrolment-refused")
        self._device_key = message.public_key
        return Response(201, {}, dumps(Enrolled("device-1", "fleet", (self.public,))))

    def _change_key(self, envelope: Envelope) -> Response:
        new = unverified(envelope, KeyChange).public_key
        try:
            for key in (new, self._device_key or new):
                unseal(envelope, KeyChange, verifier((key,)))
        except UntrustedError:
            return self._problem(401, "signature-invalid")
        self._device_key, self._bearers = new, {}
        return Response(204, {})

    def _give_token(self, envelope: Envelope) -> Response:
        if self._device_key is None:
            return self._problem(403, "device-retired")
        try:
            message = unseal(envelope, TokenRequest, verifier((self._device_key,)))
        except UntrustedError:
            return self._problem(401, "signature-invalid")
        if message.audience != self.public.key_id:
            return self._problem(401, "signature-invalid")
        if abs(message.issued_at - self.clock()) > LIMITS.clock_skew_s:
            return self._problem(401, "clock-skew")
        if message.nonce in self._nonces:
            return self._problem(401, "nonce-reused")
        self._nonces.add(message.nonce)
        token = f"bearer-{len(self._nonces)}"
        self._bearers[token] = self.clock() + LIMITS.token_s
        return Response(200, {}, dumps(Token(token, LIMITS.token_s)))

    def _give_state(self, known: str) -> Response:
        etag = f'"{hashlib.sha256(self.envelope or dumps(self.state)).hexdigest()[:16]}"'
        if known == etag:
            return Response(304, {"etag": etag})
        body = self.envelope or dumps(seal(self.state, self.key.sign, self.public.key_id))
        return Response(200, {"etag": etag}, body)

    def _take_reports(self, headers: Mapping[str, str], body: bytes) -> Response:
        data = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        batch = loads(ReportBatch, data, LIMITS.batch_bytes)
        for report in batch.reports:
            self.reports.setdefault(report.id, report)
        return Response(200, {}, dumps(Receipt(tuple(report.id for report in batch.reports))))

    def _problem(self, status: int, name: ProblemName) -> Response:
        body = {"type": PROBLEM_PREFIX + name, "title": name, "status": status}
        return Response(status, {"date": formatdate(self.clock(), usegmt=True)}, json.dumps(body).encode())
