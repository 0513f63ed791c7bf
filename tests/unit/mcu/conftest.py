"""The sample bundles' firmware, compiled once."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from acclimate.bundle.export import write_bundle
from tests.support.bundle_samples import export
from tests.support.mcu_host import GESTURES, STEPS, build, generate
from tests.unit.bundle.test_closed_form import FAMILIES, start

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def verify(signature, key, message, length) -> int:
    try:
        Ed25519PublicKey.from_public_bytes(bytes(key[:32])).verify(
            bytes(signature[:64]), bytes(message[:length])
        )
    except InvalidSignature:
        return 0
    return 1


@pytest.fixture(scope="session")
def gestures(tmp_path_factory):
    """The firmware of heads in closed form, signed, and its library."""
    folder = tmp_path_factory.mktemp("mcu") / "gestures"
    return generate(GESTURES, folder, 1, KEY.sign), build(folder)


@pytest.fixture(scope="session")
def steps(tmp_path_factory):
    """The firmware of gradient steps, signed, and its library."""
    folder = tmp_path_factory.mktemp("mcu") / "steps"
    return generate(STEPS, folder, 1, KEY.sign), build(folder)


@pytest.fixture(scope="session")
def numbers(tmp_path_factory):
    """The firmware of heads in closed form that tell numbers, signed, and its library."""
    folder = tmp_path_factory.mktemp("mcu") / "numbers"
    write_bundle(export(start(FAMILIES["mlp"], "regression")).files, folder.with_suffix(".bundle"))
    return generate(folder.with_suffix(".bundle"), folder, 1, KEY.sign), build(folder)
