"""The device's key as a TLS client certificate: its identity towards a broker."""

from __future__ import annotations

import datetime
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from acclimate_device.agent.identity import DeviceKey
from acclimate_device.protocol.mqtt import name_of

_FROM = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280's date for a certificate that does not end: a device may have no clock, and its key counts."""


def certificate(key: DeviceKey) -> bytes:
    """A certificate in PEM, signed by the key itself, named as the device is on a broker.

    The broker's operator adds it to those the broker trusts; it can vouch for no other. The same key gives
    the same bytes.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name_of(key.public.key_id))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(int(key.public.key_id[:30], 16) | 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key.private, None)
    )
    return made.public_bytes(serialization.Encoding.PEM)


def present(context: ssl.SSLContext, key: DeviceKey) -> None:
    """Let a TLS context show the certificate. The private key passes through memory only."""
    private = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.memfd_create("acclimate-device")  # the ssl module reads files only
    try:
        os.write(descriptor, private + certificate(key))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
