"""Who this device is: its own Ed25519 key, and what the service told it at enrolment."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from acclimate_device.protocol import Enrolled, PublicKey, dumps, loads
from acclimate_device.storage import Flash, Record

_RECORD_BYTES = 16 * 1024


@dataclass(frozen=True)
class DeviceKey:
    """The device's key pair. The private half exists on its flash only."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        return PublicKey.of(self.private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


class Identity:
    """Key and enrolment on flash."""

    def __init__(self, flash: Flash) -> None:
        self._key, self._enrolled = Record(flash, "key"), Record(flash, "enrolled")
        self._latest: tuple[bytes, Enrolled] | None = None

    def key(self) -> DeviceKey:
        """The device's key, made at the first call and kept before it is used."""
        raw = self._key.read()
        if raw is None:
            private = Ed25519PrivateKey.generate()
            self._key.write(private.private_bytes_raw())
            return DeviceKey(private)
        return DeviceKey(Ed25519PrivateKey.from_private_bytes(raw))

    def enrolled(self) -> Enrolled | None:
        """What the service said at enrolment; None before."""
        raw = self._enrolled.read()
        if raw is None:
            return None
        if self._latest is None or self._latest[0] != raw:  # it is asked for with every request
            self._latest = raw, loads(Enrolled, raw, _RECORD_BYTES)
        return self._latest[1]

    def save(self, enrolled: Enrolled) -> None:
        self._enrolled.write(dumps(enrolled))


def verifier(keys: tuple[PublicKey, ...]) -> Verifier:
    """A `protocol.Verify` that trusts exactly these keys."""
    return Verifier({key.key_id: Ed25519PublicKey.from_public_bytes(key.raw) for key in keys})


@dataclass(frozen=True)
class Verifier:
    """Checks signatures against trusted keys by id."""

    keys: dict[str, Ed25519PublicKey]

    def __call__(self, key_id: str, data: bytes, signature: bytes) -> bool:
        if key_id not in self.keys:
            return False
        try:
            self.keys[key_id].verify(signature, data)
        except InvalidSignature:
            return False
        return True
