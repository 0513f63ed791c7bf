"""Runs what the chart would start: its commands, arguments and environments, on local servers."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.postgres import folder_for
from tests.unit.helm.rendering import (
    CHART,
    MINIMAL,
    SMALL,
    Object,
    Objects,
    at,
    environment,
    merged,
    objects_of,
)

helm_python = pytest.importorskip("helm_python", reason="the chart is rendered by Helm's own engine")

PASSWORD = "correct horse/battery@staple:1"  # each of / @ : would break a URL
STARTS_WITHIN_S = 90.0


@pytest.fixture(scope="session")
def rendered() -> Iterator[Callable[[Object], Objects]]:
    """The chart's objects, of values."""
    with helm_python.Chart.load(CHART) as chart:
        yield lambda values: objects_of(chart.render(values, name="acclimate", namespace="fleet"))


@pytest.fixture(scope="session")
def small(rendered) -> Objects:
    """The trial profile's objects."""
    return rendered(SMALL)


@pytest.fixture(scope="session")
def external(rendered) -> Objects:
    """The objects of an installation with a database of its own: the migration is a job there."""
    return rendered(merged(MINIMAL, {"database": {"sslMode": "disable"}}))


@dataclass(frozen=True)
class Postgres:
    """A server set up the way the chart's image sets itself up."""

    port: int

    def reached(self, url: str) -> str:
        """The chart's URL of the trial's or the external server, led to this one."""
        for host in ("acclimate-postgresql:5432", "db.example.com:5432"):
            url = url.replace(f"@{host}/", f"@127.0.0.1:{self.port}/")
        return url


@pytest.fixture(scope="session")
def postgres(small) -> Iterator[Postgres]:
    """PostgreSQL with the user, password, databases and init script of the rendered StatefulSet."""
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not tools:
        pytest.skip("needs Debian's postgresql")
    account = pwd.getpwnam("postgres") if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = folder_for(account, "acclimate-chart-postgres-")  # pytest's are closed to other accounts
    container = at(small, "StatefulSet/acclimate-postgresql", "spec>template>spec>containers>postgresql")
    env = environment(container)
    (folder / "password").write_text(PASSWORD)
    as_user: dict[str, Any] = {}
    if account:
        shutil.chown(folder / "password", "postgres")
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def run(tool: str, *arguments: str, **more: Any) -> None:
        done = subprocess.run(
            [tools[-1] / tool, *arguments], capture_output=True, text=True, cwd=folder, **as_user, **more
        )
        assert done.returncode == 0, done.stdout + done.stderr

    user, port = env["POSTGRES_USER"], free_port()
    run("initdb", "-D", "data", "-U", user, "--auth=scram-sha-256", "--pwfile=password", "--no-sync")
    options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
    run("pg_ctl", "-D", "data", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        reach = ["-h", "127.0.0.1", "-p", str(port), "-U", user]
        secret = {"env": {"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]}}
        run("createdb", *reach, env["POSTGRES_DB"], **secret)
        for script in at(small, "ConfigMap/acclimate-postgresql", "data").values():
            run("psql", *reach, "-v", "ON_ERROR_STOP=1", "-d", env["POSTGRES_DB"], "-c", script, **secret)
        yield Postgres(port)
    finally:
        run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def status(url: str, host: str = "", body: bytes | None = None) -> int:
    """The HTTP status of a request; 0 where nobody answers."""
    headers = {"content-type": "application/json"} | ({"host": host} if host else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


Secrets = Mapping[tuple[str, str], str]


def resolved(container: Object, secrets: Secrets, change: Callable[[str], str]) -> dict[str, str]:
    """The environment as the kubelet would give it, with references to Secrets followed."""
    values: dict[str, str] = {}
    for name, value in environment(container).items():
        if isinstance(value, dict):
            reference = value["secretKeyRef"]
            value = secrets[reference["name"], reference["key"]]
        values[name] = change(value)
    return values


@contextmanager
def started(command: list[str], env: Mapping[str, str], probe: str, log: Path) -> Iterator[None]:
    """`command` running, from the moment its probe answers 200."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    inherited = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env={"PATH": path} | inherited | dict(env), stdout=output, stderr=output, cwd=log.parent
        )
        try:
            end = time.monotonic() + STARTS_WITHIN_S
            while status(probe) != 200:
                assert process.poll() is None, (
                    f"it ended with {process.returncode}:\n{log.read_text()[-3000:]}"
                )
                assert time.monotonic() < end, f"no answer in {STARTS_WITHIN_S} s:\n{log.read_text()[-3000:]}"
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)
