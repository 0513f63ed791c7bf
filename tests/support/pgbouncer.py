"""A real PgBouncer of our own on loopback, which lends server connections for one transaction at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer

START_TIMEOUT_S = 30.0


class PgBouncer:
    """In front of a server.

    Args:
        connections: to the server, which all clients share.
    """

    def __init__(self, server: PostgresServer, connections: int = 2) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError("PgBouncer is not installed: run make system-packages")
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="acclimate-pgbouncer-"))
        (self._folder / "users.txt").write_text('"postgres" ""\n')
        (self._folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={server.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self._folder / 'users.txt'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {connections}\n"
        )
        account = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
        for path in (self._folder, *self._folder.iterdir()) if account else ():
            shutil.chown(path, account)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, str(self._folder / "pgbouncer.ini")], stdout=log, stderr=log, user=account
            )
        self._wait(server)

    def url(self, database: str) -> str:
        """Of one of the server's databases, through this."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def close(self) -> None:
        """Stop, and remove everything."""
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, server: PostgresServer) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)
