import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.proofs import Freshness, open_enrolment, open_token_request
from acclimate_device.protocol import LIMITS, DesiredState, Enrolment, PublicKey, TokenRequest, dumps, seal

SECRET = Ed25519PrivateKey.generate()
KEY = PublicKey.of(SECRET.public_key().public_bytes_raw())
OTHER = Ed25519PrivateKey.generate()
AUDIENCE = "a" * 64
REQUEST = TokenRequest("press-7", AUDIENCE, 1000.0, "0" * 32)


def body(message: object, secret: Ed25519PrivateKey = SECRET, key_id: str = KEY.key_id) -> bytes:
    return dumps(seal(message, secret.sign, key_id))


def refused(call, *arguments) -> tuple[int, str]:
    with pytest.raises(ProblemError) as refusal:
        call(*arguments)
    return refusal.value.status, refusal.value.name


def test_an_enrolment_is_opened_with_the_key_it_brings():
    enrolment = Enrolment("ace_token", KEY, attributes={"region": "north"})
    assert open_enrolment(body(enrolment)) == enrolment
    assert refused(open_enrolment, body(enrolment, OTHER)) == (401, "signature-invalid")


def test_a_token_request_must_be_signed_by_the_devices_key():
    assert open_token_request(body(REQUEST), KEY) == REQUEST
    assert refused(open_token_request, body(REQUEST, OTHER), KEY) == (401, "signature-invalid")


def test_a_signature_of_another_kind_of_message_is_worth_nothing():
    state = DesiredState("press-7", "plant", 1, "hold")
    assert refused(open_enrolment, body(state))[0] in (400, 401)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b"{" * 10_000, b"x" * (LIMITS.envelope_bytes + 1)]
)
def test_anything_else_is_malformed(data):
    assert refused(open_enrolment, data) == (400, "malformed")


def test_every_flipped_bit_is_refused():
    data = body(REQUEST)
    for index in range(len(data)):
        flipped = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        try:
            opened = open_token_request(flipped, KEY)
        except ProblemError:
            continue
        assert opened == REQUEST, index


class Spent:
    """What a store remembers, for as many replicas as share it."""

    def __init__(self) -> None:
        self.known: set[tuple[str, str]] = set()

    def __call__(self, device: str, nonce: str, expires_at: float) -> bool:
        fresh = (device, nonce) not in self.known
        self.known.add((device, nonce))
        return fresh


async def refused_taking(freshness: Freshness, request: TokenRequest) -> tuple[int, str]:
    with pytest.raises(ProblemError) as refusal:
        await freshness.take(request)
    return refusal.value.status, refusal.value.name


@pytest.mark.anyio
async def test_a_proof_is_accepted_once_while_fresh():
    now = [1000.0]
    freshness = Freshness(AUDIENCE, lambda: now[0], Spent())
    await freshness.take(REQUEST)
    assert await refused_taking(freshness, REQUEST) == (401, "nonce-reused")
    now[0] += LIMITS.clock_skew_s + 1
    assert await refused_taking(freshness, REQUEST) == (401, "clock-skew")


@pytest.mark.anyio
async def test_a_proof_is_accepted_once_by_all_replicas_and_tried_again_where_the_store_failed():
    spent = Spent()
    one, other = (Freshness(AUDIENCE, lambda: 1000.0, spent) for _ in range(2))
    await one.take(REQUEST)
    assert await refused_taking(other, REQUEST) == (401, "nonce-reused")

    def fails(*given: object) -> bool:
        raise OSError(28, "No space left on device")

    third = Freshness(AUDIENCE, lambda: 1000.0, fails)
    assert await refused_taking(third, REQUEST) == (503, "unavailable")
    third._spend = Spent()
    await third.take(REQUEST)


@pytest.mark.anyio
async def test_a_proof_for_another_service_or_of_a_wrong_clock_is_refused():
    freshness = Freshness(AUDIENCE, lambda: 1000.0, Spent())
    other = dataclasses.replace(REQUEST, audience="b" * 64)
    assert await refused_taking(freshness, other) == (401, "signature-invalid")
    for wrong in (0.0, 2000.0, float("nan")):
        assert await refused_taking(freshness, dataclasses.replace(REQUEST, issued_at=wrong)) == (
            401,
            "clock-skew",
        )


@pytest.mark.anyio
async def test_remembered_nonces_are_bounded_and_expire():
    now = [1000.0]
    freshness = Freshness(AUDIENCE, lambda: now[0], Spent(), max_nonces=2)
    for index in range(2):
        await freshness.take(dataclasses.replace(REQUEST, nonce=f"{index:032x}"))
    more = dataclasses.replace(REQUEST, nonce="f" * 32)
    assert await refused_taking(freshness, more) == (503, "unavailable")
    now[0] = 2000.0
    await freshness.take(dataclasses.replace(more, issued_at=2000.0))


@pytest.mark.anyio
async def test_a_clock_that_was_days_ahead_leaves_nothing_that_keeps_devices_out():
    now = [500_000.0]
    freshness = Freshness(AUDIENCE, lambda: now[0], Spent(), max_nonces=2)
    for index in range(2):
        ahead = dataclasses.replace(REQUEST, nonce=f"{index + 1:032x}", issued_at=now[0])
        await freshness.take(ahead)
    now[0] = 1000.0
    await freshness.take(REQUEST)
    assert await refused_taking(freshness, REQUEST) == (401, "nonce-reused")
    assert await refused_taking(freshness, ahead) == (401, "clock-skew")
