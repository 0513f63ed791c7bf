"""The certificate that the service shows: checked before it listens, and read again when its files change.

Who issues certificates for a few weeks (ACME clients, cert-manager) writes new ones over the old; connections
that begin after that get the new one, and nobody has to restart the service.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from acclimate.errors import RolloutError

log = logging.getLogger(__name__)

LOOK_S = 60.0
SOON = timedelta(days=7)


class ServerCertificate:
    """A certificate chain and its key in two PEM files.

    Attributes:
        context: for the server; it hands every new connection to what the files held last.

    Raises:
        RolloutError: a file is not there, is not PEM, is encrypted, or the two do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._read = self._stamps()
        self._current = self._load()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._hand_over
        self.context.load_cert_chain(certificate, key, _no_password)  # a context without one takes nobody

    def renew(self) -> None:
        """Take what the files hold now; while that is unusable (half written, say), what was there stays."""
        try:
            if (stamps := self._stamps()) == self._read:
                return
            self._current, self._read = self._load(), stamps
        except RolloutError as error:
            log.warning("certificate-kept", extra={"why": str(error)})
        else:
            log.info("certificate-renewed", extra={"file": str(self._files[0])})

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Look for new files every minute, in a thread beside."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(LOOK_S):
                self.renew()

        thread = threading.Thread(target=look, name="certificate")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _hand_over(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._current

    def _stamps(self) -> list[tuple[int, int, int]]:
        stats = []
        for path in self._files:
            try:
                found = path.stat()
            except OSError as error:
                raise RolloutError(f"TLS file {path} cannot be read: {error.strerror}") from None
            stats.append((found.st_mtime_ns, found.st_ino, found.st_size))
        return stats

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        except (OSError, ValueError):
            raise RolloutError(f"TLS file {certificate} is no PEM file with certificates") from None
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise RolloutError(
                f"TLS key {key} cannot be used with {certificate} ({why}): give the PEM file with the key "
                "that the certificate was made for, not encrypted"
            ) from None
        if chain[0].not_valid_after_utc < datetime.now(UTC) + SOON:
            log.warning("certificate-ends", extra={"at": chain[0].not_valid_after_utc.isoformat()})
        return context


def _no_password() -> str:
    raise ValueError("it is encrypted")
