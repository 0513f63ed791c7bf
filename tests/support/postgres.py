"""A real PostgreSQL server of our own on loopback, for tests and benchmarks; gone when they end.

It refuses to run as root, so root runs it as user `postgres` (of the Debian package) in a folder of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.support.certificates import write_certificates
from tests.support.ports import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
START_TIMEOUT_S = 60.0


class PostgresServer:
    """One server, killable and restartable at the same port.

    Args:
        fsync: survive a power cut too. Without it commits still survive `kill`, because the kernel keeps
            what a dead process has written; tests are quicker for it, benchmarks need it on.
        tls: speak TLS, with a certificate for `localhost` alone by the authority in `ca`.
    """

    def __init__(self, fsync: bool = True, tls: bool = False) -> None:
        if not BINARIES:
            raise RuntimeError("PostgreSQL is not installed: run make system-packages")
        self._account = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self._folder = folder_for(self._account, "acclimate-postgres-")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._fsync, self._tls = fsync, tls
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        if tls:
            write_certificates(self._folder, "localhost")
            if self._account:
                os.chown(self._folder / "server.key", self._account.pw_uid, self._account.pw_gid)
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the server's."""
        return self._folder / "ca.crt"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """URL of an empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Run, and return once it answers."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self._port)}
        settings["fsync"] = "on" if self._fsync else "off"
        if self._tls:
            settings |= {"ssl": "on", "ssl_cert_file": f"{self._folder}/server.crt"}
            settings["ssl_key_file"] = f"{self._folder}/server.key"
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = self._popen("postgres", "-D", str(self._data), *options, log=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of the whole server, as when the machine dies; `start` recovers from its log."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Stop and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [BINARIES[-1] / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self._folder,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed in {self._folder}: {done.stdout}{done.stderr}")

    def _popen(self, program: str, *arguments: str, log: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BINARIES[-1] / program, *arguments],
            stdout=log,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            start_new_session=True,  # its own process group, which `kill` takes down whole
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        return {"user": self._account.pw_uid, "group": self._account.pw_gid} if self._account else {}


def folder_for(account: pwd.struct_passwd | None, prefix: str) -> Path:
    """A new folder of this account, in the first place for temporary files that it can reach."""
    if account is None:
        return Path(tempfile.mkdtemp(prefix=prefix))
    places = [Path(place).resolve() for place in (tempfile.gettempdir(), "/var/tmp", "/dev/shm")]
    for place in places:
        if place.is_dir() and all(one.stat().st_mode & stat.S_IXOTH for one in (place, *place.parents)):
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            os.chown(folder, account.pw_uid, account.pw_gid)
            return folder
    told = ", ".join(f"{place} ({oct(stat.S_IMODE(place.stat().st_mode))})" for place in places)
    raise RuntimeError(f"user {account.pw_name} reaches none of {told}: chmod o+x one of them")
