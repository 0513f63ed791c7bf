"""Who this device is: its own Ed25519 key, and what the service told it at enrolment."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from acclimate_device.errors import UntrustedError
from acclimate_device.protocol import Enrolled, PublicKey, dumps, loads
from acclimate_device.storage import Store

_RECORD_BYTES, _KEY_BYTES = 16 * 1024, 32
_KEY, _ENROLLED = "key", "enrolled"
_NEXT, _CHANGING = "next-key", "changing-key"


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
    """Key and enrolment in the store.

    Raises:
        StorageError: the flash cannot be read or written (from every method).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._latest: tuple[bytes, Enrolled] | None = None

    def key(self) -> DeviceKey:
        """The device's key, made at the first call and kept before it is used.

        Raises:
            UntrustedError: the device is enrolled and its key is lost: no other key can take its place.
        """
        raw = self._store.read(_KEY)
        if raw is not None and len(raw) == _KEY_BYTES:
            return DeviceKey(Ed25519PrivateKey.from_private_bytes(raw))
        if raw is not None or self._store.read(_ENROLLED) is not None:
            raise UntrustedError(
                "this device's key is lost, both its copies are damaged or of another version of this "
                "package: ask an operator for a new token and run acclimate-device enrol --new-key"
            )
        return self.renew_key()

    def renew_key(self) -> DeviceKey:
        """Another key: to the service this is another device, until it enrols."""
        private = Ed25519PrivateKey.generate()
        for record in (_ENROLLED, _CHANGING, _NEXT):
            self._store.delete(record)
        self._store.write(_KEY, private.private_bytes_raw())
        return DeviceKey(private)

    def next_key(self) -> DeviceKey:
        """The key to change to, made at the first call and kept before it is used."""
        raw = self._store.read(_NEXT)
        if raw is None or len(raw) != _KEY_BYTES:
            raw = Ed25519PrivateKey.generate().private_bytes_raw()
            self._store.write(_NEXT, raw)
        return DeviceKey(Ed25519PrivateKey.from_private_bytes(raw))

    def changing(self) -> bool:
        """Whether the service was asked to take the next key and its answer is not known."""
        return self._store.read(_CHANGING) is not None and self._store.read(_NEXT) is not None

    def begin_change(self) -> tuple[DeviceKey, DeviceKey]:
        """The key in use and the next one; from now on either may be the one that the service knows."""
        both = self.key(), self.next_key()
        self._store.write(_CHANGING, b"1")
        return both

    def end_change(self, taken: bool) -> None:
        """The service took the next key, or it can take none."""
        if taken:
            self._store.write(_KEY, self.next_key().private.private_bytes_raw())
        self._store.delete(_CHANGING)
        if taken:
            self._store.delete(_NEXT)

    def enrolled(self) -> Enrolled | None:
        """What the service said at enrolment; None before."""
        raw = self._store.read(_ENROLLED)
        if raw is None:
            return None
        if self._latest is None or self._latest[0] != raw:  # it is asked for with every request
            self._latest = raw, loads(Enrolled, raw, _RECORD_BYTES)
        return self._latest[1]

    def save(self, enrolled: Enrolled) -> None:
        self._store.write(_ENROLLED, dumps(enrolled))


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
