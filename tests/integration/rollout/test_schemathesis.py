"""Both APIs under generated requests, good and bad: never a 5xx, and answers as documented."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate_device.protocol import (
    ENROLMENT_PATH,
    TOKEN_PATH,
    Enrolled,
    Enrolment,
    PublicKey,
    Token,
    TokenRequest,
    dumps,
    read,
    seal,
)
from tests.support.serving import ADMIN, Served

pytestmark = pytest.mark.slow
EXAMPLES = "4"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    service = Served(tmp_path_factory.mktemp("schemathesis"))
    service.start()
    yield service
    service.stop()


def bearer(served: Served) -> str:
    """A device's bearer token."""
    with httpx.Client(base_url=served.url, headers=served.admin) as http:
        http.post("/api/v1/fleets", json={"name": "plant"}).raise_for_status()
        made = http.post("/api/v1/fleets/plant/enrolment-tokens", json={}).json()
        secret = Ed25519PrivateKey.generate()
        key = PublicKey.of(secret.public_key().public_bytes_raw())
        enrolment = seal(Enrolment(made["token"], key), secret.sign, key.key_id)
        enrolled = read(Enrolled, http.post(ENROLMENT_PATH, content=dumps(enrolment)).json())
        audience = enrolled.service_keys[0].key_id
        request = TokenRequest(enrolled.device_id, audience, time.time(), secrets.token_hex(16))
        answer = http.post(TOKEN_PATH, content=dumps(seal(request, secret.sign, key.key_id)))
        return read(Token, answer.json()).access_token


def attack(served: Served, document: str, token: str, admitted: str) -> None:
    """Generate requests; `admitted` is a metric that only requests with a valid token move."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", served.url + document]
    command += ["--url", served.url + ("/api" if document.startswith("/api") else "")]
    command += ["-H", f"Authorization: Bearer {token}", "--checks", "not_a_server_error", "--no-color"]
    command += ["--max-examples", EXAMPLES, "--phases", "coverage,fuzzing", "--seed", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "event=defect" not in served.log
    metrics = httpx.get(f"{served.url}/metrics").text
    assert admitted in metrics, "every request was turned away at the door"


def test_the_operator_side_never_fails_on_its_own(served):
    attack(served, "/api/openapi.json", ADMIN, 'method="POST",side="api",status="201"')


def test_the_device_side_never_fails_on_its_own(served):
    attack(served, "/device/v1/openapi.json", bearer(served), 'polls_total{fleet="plant",outcome="changed"}')
