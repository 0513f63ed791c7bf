"""The service over HTTPS with a certificate of its own."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.certificates import write_certificates
from tests.support.serving import Served

pytestmark = pytest.mark.slow


def test_it_shows_its_certificate_and_speaks_nothing_else(tmp_path: Path) -> None:
    write_certificates(tmp_path, "localhost")
    files = {
        "ACCLIMATE_TLS_CERTIFICATE": str(tmp_path / "server.crt"),
        "ACCLIMATE_TLS_KEY": str(tmp_path / "server.key"),
    }
    service = Served(tmp_path / "home", authority=tmp_path / "ca.crt")
    service.start(**files)
    try:
        with httpx.Client(base_url=service.url, headers=service.admin, verify=service.trust) as client:
            assert client.get("/api/v1/whoami").json()["role"] == "admin"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{service.port}/readyz")
    finally:
        service.stop()
    (tmp_path / "server.key").write_text("")
    with pytest.raises(RuntimeError, match=r"error: TLS key .*server\.key cannot be used"):
        service.start(**files)
