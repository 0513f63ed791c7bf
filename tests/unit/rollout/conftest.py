"""The whole service in one process: a real SQLite store, real keys, real HTTP through ASGI."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.operator.operators import first_admin
from acclimate.rollout.api.proofs import trusting
from acclimate.rollout.application import Service, application
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store
from acclimate_device.protocol import (
    ENROLMENT_PATH,
    STATE_PATH,
    TOKEN_PATH,
    DesiredState,
    Enrolled,
    Enrolment,
    Envelope,
    PublicKey,
    Token,
    TokenRequest,
    dumps,
    loads,
    read,
    seal,
    unseal,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class World:
    """A running service and its administrator."""

    service: Service
    http: httpx.AsyncClient
    admin: dict[str, str]

    async def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """An administrator's call."""
        answer = await self.http.request(method, f"/api/v1{path}", json=body, headers=self.admin)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def operator(self, role: str, fleet: str | None = None) -> dict[str, str]:
        """Headers of a new token."""
        body = {"name": f"{role} of {fleet}", "role": role, "fleet": fleet}
        made = await self.call("POST", "/tokens", body, 201)
        return {"Authorization": f"Bearer {made['token']}"}

    async def device(self, fleet: str, **attributes: str | int | float | bool) -> PretendDevice:
        """A device that has enrolled and has its bearer token."""
        made = await self.call("POST", f"/fleets/{fleet}/enrolment-tokens", {}, 201)
        device = PretendDevice(self.http, Ed25519PrivateKey.generate())
        await device.enrol(made["token"], attributes)
        await device.renew()
        return device


@dataclass
class PretendDevice:
    """The wire side of a device."""

    http: httpx.AsyncClient
    secret: Ed25519PrivateKey
    identity: Enrolled | None = None
    bearer: str = ""

    @property
    def key(self) -> PublicKey:
        return PublicKey.of(self.secret.public_key().public_bytes_raw())

    def sealed(self, message: object) -> bytes:
        return dumps(seal(message, self.secret.sign, self.key.key_id))

    async def enrol(self, token: str, attributes: dict[str, Any], status: int = 201) -> httpx.Response:
        message = Enrolment(token, self.key, "serial-1", attributes, "0.1")
        answer = await self.http.post(ENROLMENT_PATH, content=self.sealed(message))
        assert answer.status_code == status, answer.text
        if status == 201:
            self.identity = read(Enrolled, answer.json())
        return answer

    def token_request(self, nonce: str | None = None, issued_at: float | None = None) -> bytes:
        import secrets

        message = TokenRequest(
            self.identity.device_id,
            self.identity.service_keys[0].key_id,
            time.time() if issued_at is None else issued_at,
            nonce or secrets.token_hex(16),
        )
        return self.sealed(message)

    async def renew(self, status: int = 200) -> httpx.Response:
        answer = await self.http.post(TOKEN_PATH, content=self.token_request())
        assert answer.status_code == status, answer.text
        if status == 200:
            self.bearer = read(Token, answer.json()).access_token
        return answer

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.bearer}"}

    async def poll(self, etag: str = "") -> httpx.Response:
        return await self.http.get(
            STATE_PATH, headers=self.headers | ({"If-None-Match": etag} if etag else {})
        )

    async def desired(self) -> DesiredState:
        answer = await self.poll()
        assert answer.status_code == 200, answer.text
        envelope = loads(Envelope, answer.content, 65536)
        return unseal(envelope, DesiredState, trusting(self.identity.service_keys[0]))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, migrated once for all tests."""
    path = tmp_path_factory.mktemp("database") / "rollout.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
async def world(tmp_path: Path, migrated: Path) -> AsyncIterator[World]:
    settings = ServiceSettings(home=tmp_path, operator_rate=0, anonymous_rate=0, tick_s=0.2)
    shutil.copy(migrated, tmp_path / "rollout.db")
    async with running(settings) as made:
        yield made


@asynccontextmanager
async def running(settings: ServiceSettings) -> AsyncIterator[World]:
    """A service in this process, from settings to the last request."""
    store = open_store(settings.database)
    token = first_admin(store, "", time.time())
    service = Service(settings, store, ServiceKey.load_or_create(settings.key_file))
    await service.start()
    transport = httpx.ASGITransport(application(service), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield World(service, http, {"Authorization": f"Bearer {token}"})
    await service.stop()
    store.close()
