"""The service's database over TLS: verified by name and authority, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.mishaps import as_user_error
from tests.support.certificates import write_certificates
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=False, tls=True)
    yield server
    server.close()


def migrate(url: str, folder: Path) -> str:
    """What `acclimate serve --migrate-only` says; empty if all went well."""
    environment = {"ACCLIMATE_HOME": str(folder / "home"), "ACCLIMATE_DATABASE_URL": url}
    done = CliRunner().invoke(cli, ["serve", "--migrate-only"], env=environment)
    if done.exception is None or done.exit_code == 0:
        return ""
    told = as_user_error(done.exception)
    assert told is not None, repr(done.exception)
    return str(told)


def test_a_database_is_verified_by_name_and_authority(server: PostgresServer, tmp_path: Path) -> None:
    def url(host: str, ca: Path, mode: str = "verify-full") -> str:
        return f"postgresql://postgres@{host}:{server.port}/postgres?sslmode={mode}&sslrootcert={ca}"

    (tmp_path / "other").mkdir()
    write_certificates(tmp_path / "other", "localhost")
    assert migrate(url("localhost", server.ca), tmp_path) == ""
    assert migrate(url("127.0.0.1", server.ca, "verify-ca"), tmp_path) == ""
    by_address = migrate(url("127.0.0.1", server.ca), tmp_path)
    assert "localhost" in by_address
    assert "127.0.0.1" in by_address
    assert "certificate verify failed" in migrate(url("localhost", tmp_path / "other" / "ca.crt"), tmp_path)
    assert "absent.crt" in migrate(url("localhost", tmp_path / "absent.crt"), tmp_path)
    with psycopg.connect(url("localhost", server.ca)) as connection:
        [(encrypted,)] = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert encrypted
