"""How requests travel: an interface, and HTTP over the standard library.

Another transport (MQTT, a message bus, a test) implements `Transport` and keeps HTTP's words: methods, paths,
headers, statuses. Bodies are bounded, so neither side of a request can fill the memory.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from acclimate_device import __version__
from acclimate_device.errors import TransportError


@dataclass(frozen=True)
class Response:
    """An answer; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """Sends one request at a time to one server."""

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        """The answer, whatever its status.

        Raises:
            TransportError: no answer, or one longer than `max_bytes`.
        """


class HttpTransport:
    """HTTP/1.1 with one connection that is kept open.

    Args:
        url: of the server; its path is put in front of every path.
        ca_file: certificate authorities; None means the system's.
        timeout_s: of connecting and of each read.
    """

    def __init__(self, url: str, ca_file: Path | None = None, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._host, self._port, self._timeout_s = parts.hostname or "", parts.port, timeout_s
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        sent = {"User-Agent": f"acclimate-device/{__version__}", **headers}
        for fresh in (False, True):
            reused = self._connection is not None
            try:
                return self._exchange(method, self._prefix + path, sent, body, max_bytes)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # a server may close an idle connection at any time: that says nothing about this request
                if not reused or fresh:
                    raise TransportError(
                        f"{method} {self._host}{path}: {error or type(error).__name__}"
                    ) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        data = answer.read(max_bytes + 1)
        if len(data) > max_bytes:
            self.close()
            raise TransportError(
                f"{method} {path}: the answer is longer than {max_bytes} bytes", answer.status
            )
        found = {name.lower(): value for name, value in answer.getheaders()}
        if answer.will_close:
            self.close()
        return Response(answer.status, found, data)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)
