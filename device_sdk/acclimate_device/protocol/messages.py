"""What a device and the service say to each other about identity and assignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from acclimate_device.errors import ProtocolError
from acclimate_device.protocol.codec import Items, Number, Text
from acclimate_device.protocol.envelope import PublicKey
from acclimate_device.protocol.limits import LIMITS

ENROLMENT_PATH = "/device/v1/enrolments"
TOKEN_PATH = "/device/v1/tokens"
KEY_PATH = "/device/v1/keys"
STATE_PATH = "/device/v1/state"
REPORT_PATH = "/device/v1/reports"
REPOSITORY_PATH = "/device/v1/repository"
"""Below it `metadata/…` and `targets/…`, the TUF repository; any static server may hold it instead."""

Name = Annotated[str, Text(r"[A-Za-z0-9][A-Za-z0-9._-]*", max_length=128)]
DeviceId = Annotated[str, Text(r"[A-Za-z0-9][A-Za-z0-9._:-]*", max_length=128)]
Hash = Annotated[str, Text(r"[0-9a-f]{64}", max_length=64)]
Nonce = Annotated[str, Text(r"[0-9a-f]{32}", max_length=32)]
Counter = Annotated[int, Number(0, 2**53 - 1)]
Count = Annotated[int, Number(0, LIMITS.count)]
Seconds = Annotated[float, Number(0.0)]
Moment = Annotated[float, Number(*LIMITS.time_s)]
Line = Annotated[str, Text(r"[^\x00-\x1f\x7f]*")]
Prose = Annotated[str, Text(max_length=4096)]
Attribute = bool | int | float | Annotated[str, Text(r"[^\x00-\x1f\x7f]*", max_length=500)]
AttributeName = Annotated[str, Text(r"[^\x00-\x1f\x7f]+", max_length=100)]
Attributes = Annotated[Mapping[AttributeName, Attribute], Items(64)]

Action = Literal["run", "reset", "hold"]


@dataclass(frozen=True)
class Enrolment:
    """A device asks to join: sent in an envelope signed with the key it brings.

    Attributes:
        token: the one-time token an operator made; it says which fleet and spends itself.
        public_key: the device's own key; the private half never leaves it.
        hardware_id: what the device calls itself, such as a serial number; for people only.
        attributes: facts a rollout may target: model, region, memory.
        sdk: version of acclimate-device.
    """

    token: Annotated[str, Text(r"[\x21-\x7e]+", max_length=512)]
    public_key: PublicKey
    hardware_id: Line = ""
    attributes: Attributes = field(default_factory=dict)
    sdk: Line = ""
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Enrolled:
    """The answer: who the device is now, and which keys sign its assignments.

    Attributes:
        device_id: the identity the service gave.
        fleet: the fleet that the enrolment token belongs to.
        service_keys: keys whose assignments the device obeys.
    """

    device_id: DeviceId
    fleet: Name
    service_keys: Annotated[tuple[PublicKey, ...], Items(4)]
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Start:
    """One start of a device's agent, by which the service tells one machine from two with one identity.

    Attributes:
        nonce: random at each start.
        count: how many starts the device counts with this one; 0 where its flash does not tell.
        hardware: digest of what is soldered to the machine, of no meaning beside another identity's; empty
            where nothing tells.
    """

    nonce: Nonce
    count: Counter = 0
    hardware: Annotated[str, Text(r"[0-9a-f]{64}|", max_length=64)] = ""


@dataclass(frozen=True)
class TokenRequest:
    """Proof of key possession: sent in an envelope signed with the device's key.

    Attributes:
        device_id: as enrolled.
        audience: id of the service key the device trusts, so that no other service can pass the proof on.
        issued_at: Unix seconds on the device's clock, at most `LIMITS.clock_skew_s` off. A device with a
            wrong clock is told so (`clock-skew`) and corrects itself by the answer's `Date` header.
        nonce: random; a service accepts one only once while it is fresh.
        attributes: replaces the enrolled attributes; empty leaves them.
        sdk: version of acclimate-device.
        start: of the agent that asks; None from an agent that does not tell.
    """

    device_id: DeviceId
    audience: Hash
    issued_at: Moment
    nonce: Nonce
    attributes: Attributes = field(default_factory=dict)
    sdk: Line = ""
    start: Start | None = None
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Token:
    """A bearer token for every further request, and how long it holds.

    Attributes:
        access_token: opaque to the device.
        expires_in_s: seconds from now.
        token_type: how it is sent in the `Authorization` header.
    """

    access_token: Annotated[str, Text(r"[\x21-\x7e]+", max_length=2048)]
    expires_in_s: Seconds
    token_type: Literal["Bearer"] = "Bearer"
    schema: Literal[1] = 1


@dataclass(frozen=True)
class KeyChange:
    """A device goes over to another key: sent in an envelope signed with both, the one it leaves and the new.

    Sent again after a lost answer it changes nothing: the service then knows the new key, and that signed.

    Attributes:
        device_id: as enrolled; it stays.
        audience, issued_at, nonce: as in `TokenRequest`.
        public_key: the new one.
    """

    device_id: DeviceId
    audience: Hash
    issued_at: Moment
    nonce: Nonce
    public_key: PublicKey
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Release:
    """One exact registry version: its number and its content hash, never an alias.

    Attributes:
        name: of the registered model.
        version: number in the registry.
        content_hash: SHA-256 of the initialization, in hex.
    """

    name: Name
    version: Annotated[int, Number(1, 2**31 - 1)]
    content_hash: Hash

    @property
    def path(self) -> str:
        """The folder of its files among the TUF targets."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class DesiredState:
    """What one device should do: sent in an envelope signed with the service's key.

    Attributes:
        device_id: the device it is for; any other refuses it.
        fleet: that device's fleet.
        counter: rises with every change for this device and never falls; a device refuses a lower one, and a
            different state under the same one.
        action: `run` the release, keeping adapted state if it already runs; `reset`: run it from its
            initialization, dropping adapted state, once for this counter; `hold`: keep what runs.
        release: what to run; must be there for `run` and `reset`.
        issued_at: Unix seconds on the service's clock; for people only.
        poll_s: seconds until the next poll; the device adds jitter.
        report_s: seconds one report covers.
        service_keys: the keys that sign from now on, which is how they rotate; empty leaves them.
    """

    device_id: DeviceId
    fleet: Name
    counter: Counter
    action: Action
    release: Release | None = None
    issued_at: Moment = 0.0
    poll_s: Annotated[float, Number(*LIMITS.poll_s)] = 60.0
    report_s: Annotated[float, Number(*LIMITS.poll_s)] = 900.0
    service_keys: Annotated[tuple[PublicKey, ...], Items(4)] = ()
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        if self.action != "hold" and self.release is None:
            raise ProtocolError(f"DesiredState.release: missing, but the action is {self.action}")


@dataclass(frozen=True)
class Problem:
    """An error of the service, as RFC 9457 problem details.

    Attributes:
        type: `PROBLEM_PREFIX` and a `ProblemName`.
        title: the kind of problem, for people.
        status: the HTTP status.
        detail: what was wrong this time, and the remedy.
        instance: the request it is about; empty if none.
    """

    type: str
    title: str
    status: Annotated[int, Number(100, 599)]
    detail: Prose = ""
    instance: Prose = ""


PROBLEM_PREFIX = "urn:acclimate:problem:"
ProblemName = Literal[
    "malformed",  # 400: not the protocol
    "signature-invalid",  # 401: the envelope's signature does not hold
    "clock-skew",  # 401: issued_at too far off; see the Date header
    "nonce-reused",  # 401: ask again with a new nonce
    "token-expired",  # 401: fetch a new bearer token
    "enrolment-refused",  # 403: one-time token unknown, spent, expired, or its quota is used up
    "device-retired",  # 403: an operator removed this device; stop polling
    "contribution-refused",  # 422: not what the round asks for; do not send it again
    "round-over",  # 409: nothing is asked for, or something else; ask again
    "not-found",  # 404
    "too-large",  # 413
    "rate-limited",  # 429: see the Retry-After header
    "unavailable",  # 503: see the Retry-After header
]
