"""The CronJob's two containers save both databases of a real PostgreSQL, and what they wrote restores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.integration.helm.conftest import PASSWORD, resolved
from tests.unit.helm.rendering import SMALL, at, merged

pytestmark = pytest.mark.slow
SECRETS = {("acclimate-database", "password"): PASSWORD}
TOOLS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def test_both_databases_are_saved_and_come_back(rendered, postgres, tmp_path):
    objects = rendered(merged(SMALL, {"backup": {"enabled": True, "keep": 1}}))
    pod = at(objects, "CronJob/acclimate-backup", "spec>jobTemplate>spec>template>spec")
    (tmp_path / "dump.sh").write_text(at(objects, "ConfigMap/acclimate-backup", "data>dump.sh"))
    backups = tmp_path / "backups"
    backups.mkdir()
    places = {
        "/var/backups/acclimate": str(backups),
        "/etc/acclimate/backup/dump.sh": str(tmp_path / "dump.sh"),
        "/var/lib/acclimate/repository": str(tmp_path / "repository"),
        "/etc/acclimate/keys": str(tmp_path / "keys"),
    }

    def here(text: str) -> str:
        for there, place in places.items():
            text = text.replace(there, place)
        return postgres.reached(text)

    def run(container: dict, *command: str) -> str:
        environment = os.environ | resolved(container, SECRETS, here)
        environment["PATH"] = f"{TOOLS[-1]}:{os.environ['PATH']}"
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run([*map(here, command)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    [dumps], [saves] = pod["initContainers"], pod["containers"]
    acclimate = [sys.executable, "-m", "acclimate"]
    run(saves, *acclimate, "serve", "--migrate-only")
    mlflow = here(next(e["value"] for e in dumps["env"] if e["name"] == "MLFLOW_BACKEND_STORE_URI"))
    mlflow = mlflow.replace("+psycopg", "")
    with psycopg.connect(mlflow, password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept_runs AS SELECT generate_series(1, 7) AS run")
        for _ in range(2):  # the second run deletes what the first wrote
            run(dumps, *dumps["command"], *dumps["args"])
            run(saves, *acclimate, *saves["args"])
        [dump] = backups.glob("mlflow-*.dump")
        [service] = (backups / "service").iterdir()
        connection.execute("DROP TABLE kept_runs")
        run(dumps, "pg_restore", "--dbname", mlflow, str(dump))
        assert connection.execute("SELECT count(*) FROM kept_runs").fetchone() == (7,)
        connection.execute("DROP TABLE kept_runs")
    said = run(saves, *acclimate, "restore", str(service), "--dry-run")
    assert "is whole" in said
