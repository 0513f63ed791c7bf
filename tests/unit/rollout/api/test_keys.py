import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from acclimate.errors import RolloutError
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.server import key_of, prepare
from acclimate.rollout.settings import ServiceSettings
from tests.support.rollout_samples import a_fleet_with


def test_the_key_is_made_once_and_read_by_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "service-key.pem"
    first, second = ServiceKey.load_or_create(path), ServiceKey.load_or_create(path)
    assert first.public_bytes == second.public_bytes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_signature_verifies_with_the_public_key(tmp_path):
    key = ServiceKey.load_or_create(tmp_path / "key.pem")
    Ed25519PublicKey.from_public_bytes(key.public_bytes).verify(key.sign(b"message"), b"message")


def test_derived_secrets_differ_by_purpose_and_last(tmp_path):
    path = tmp_path / "key.pem"
    key = ServiceKey.load_or_create(path)
    assert key.derive("a") == ServiceKey.load_or_create(path).derive("a")
    assert key.derive("a") != key.derive("b")


def test_another_kind_of_key_is_refused_with_its_name(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(
        X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(RolloutError, match="Ed25519"):
        ServiceKey.load_or_create(path)
    path.write_text("nothing")
    with pytest.raises(RolloutError, match=r"key\.pem is not"):
        ServiceKey.load_or_create(path)


@pytest.mark.parametrize("path", ["/proc/key.pem", "/dev/null/key.pem"])
def test_a_key_that_can_be_made_nowhere_is_named_with_a_remedy(path: str):
    with pytest.raises(RolloutError, match=f"key {path} cannot be made .*name another place"):
        ServiceKey.load_or_create(Path(path))


def test_a_key_that_devices_know_is_never_replaced_in_silence(tmp_path: Path):
    settings = ServiceSettings(home=tmp_path)
    store = prepare(settings)
    first = key_of(settings, store)
    a_fleet_with(store, devices=1)
    settings.key_file.rename(tmp_path / "moved.pem")
    with pytest.raises(RolloutError, match=r"service-key.pem is missing.*backup.*openssl genpkey"):
        key_of(settings, store)
    assert not settings.key_file.exists()
    (tmp_path / "moved.pem").rename(settings.key_file)
    assert key_of(settings, store).public_bytes == first.public_bytes
    store.close()
