"""The whole chain as the production profile wires it: train, register, export, publish, serve, device.

PostgreSQL with TLS and verify-full, MLflow with a login on it and its artifacts in S3, bundles in S3. Each
program gets the environment and the arguments that the chart gives it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import s3fs

from tests.integration.helm.conftest import resolved, started
from tests.support.fleet_journey import Operator
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.s3 import KEY, SECRET, S3Server
from tests.support.serving import ADMIN
from tests.unit.helm.rendering import CHART, PRODUCTION, Object, at, merged, objects_of

helm_python = pytest.importorskip("helm_python")
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]

LOGIN = {"username": "admin", "password": "a long password of the tests", "flask-secret-key": "f" * 32}
BUCKET = "acclimate-example"  # the production profile's
SECRETS = {
    **{("acclimate-mlflow-auth", key): text for key, text in LOGIN.items()},
    ("acclimate-database", "password"): "trusted",
    ("acclimate-mlflow-database", "password"): "trusted",
    ("acclimate-admin", "admin-token"): ADMIN,
    ("store", "access-key-id"): KEY,
    ("store", "secret-access-key"): SECRET,
}
SCENARIO = {
    "name": "chain",
    "clock": "wall",
    "devices": 3,
    "duration": 10,
    "stream": {"source": "watch", "every": 1.0},
    "service": {"poll": 2.0},
    "rollouts": [],
}


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    server = S3Server()
    server.make_bucket(BUCKET)
    yield server
    server.close()


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=False, tls=True)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in ("acclimate", "mlflow"):
            connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN")
            connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    yield server
    server.close()


def acclimate(environment: dict[str, str], *arguments: object) -> str:
    command = [sys.executable, "-m", "acclimate", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
    return done.stdout


def test_from_training_to_devices(store: S3Server, database: PostgresServer, tmp_path: Path) -> None:
    values = merged(
        PRODUCTION,
        {
            "objectStore": {"endpoint": store.url, "existingSecret": "store"},
            "expose": {"type": "none"},
            "mlflow": {"workers": 1},
        },
    )
    with helm_python.Chart.load(CHART) as chart:
        objects = objects_of(chart.render(values, name="acclimate", namespace="fleet"))
    mlflow_port, port = free_port(), free_port()
    mlflow_url, url = f"http://127.0.0.1:{mlflow_port}", f"http://127.0.0.1:{port}"

    def here(text: str) -> str:
        for there, place in {
            "postgresql.example.com:5432": f"localhost:{database.port}",
            "/etc/acclimate/ca/ca.crt": str(database.ca),
            "/etc/mlflow": str(tmp_path / "mlflow"),
            "/etc/acclimate/keys": str(tmp_path / "keys"),
            "/var/lib/acclimate": str(tmp_path),
            "http://acclimate-mlflow.fleet.svc:5000": mlflow_url,
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=5000": f"--port={mlflow_port}",
        }.items():
            text = text.replace(there, place)
        return text

    def of_pod(container: Object) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        inherited = {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return inherited | resolved(container, SECRETS, here) | {"HOME": str(tmp_path)}

    (tmp_path / "mlflow").mkdir()
    ini = at(objects, "ConfigMap/acclimate-mlflow", "data>auth.ini")
    (tmp_path / "mlflow" / "auth.ini").write_text(here(ini))
    pod = at(objects, "Deployment/acclimate-mlflow", "spec>template>spec")
    [migrate], [mlflow] = pod["initContainers"], pod["containers"]
    done = subprocess.run(
        [sys.executable, *migrate["command"][1:]], env=of_pod(migrate), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [rollout] = at(objects, "Deployment/acclimate-rollout", "spec>template>spec>containers")
    person = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ} | {
        "ACCLIMATE_HOME": str(tmp_path / "person"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MLFLOW_TRACKING_USERNAME": LOGIN["username"],
        "MLFLOW_TRACKING_PASSWORD": LOGIN["password"],
        "ACCLIMATE_ARTIFACTS_URL": f"s3://{BUCKET}/targets",
        "OMP_NUM_THREADS": "1",
        **store.environment(),
    }
    with ExitStack() as running:
        command = [*mlflow["command"], *map(here, mlflow["args"])]
        running.enter_context(
            started(command, of_pod(mlflow), f"{mlflow_url}/health", tmp_path / "mlflow.log")
        )
        small = ["training.steps=8", "training.workers=0", "evaluation.draws=1", "evaluation.long_steps=2"]
        small += ["evaluation.rates=[0.01]", "evaluation.rivals=false", "model.options.filters=8"]
        changes = [part for change in small for part in ("--set", change)]
        trained = json.loads(acclimate(person, "train", "watch", *changes, "--candidate", "--json"))
        version = trained["version"]["version"]
        assert version == 1
        files = s3fs.S3FileSystem(key=KEY, secret=SECRET, endpoint_url=store.url)
        assert files.find(f"{BUCKET}/mlflow"), "MLflow's artifacts are in the store"

        tuf, keys = tmp_path / "repository" / "tuf", tmp_path / "keys"
        acclimate(person, "export", "watch@1", "-o", tmp_path / "bundle")
        acclimate(person, "repo", "init", tuf, "--keys", keys, "--unencrypted")
        acclimate(person, "repo", "publish", tuf, tmp_path / "bundle", "--key", keys)
        assert files.find(f"{BUCKET}/targets"), "bundles are in the store"
        assert not (tuf / "targets").exists() or not list((tuf / "targets").rglob("*.onnx"))

        environment = of_pod(rollout) | {"ACCLIMATE_HOST": "127.0.0.1", "ACCLIMATE_PORT": str(port)}
        environment |= {"ACCLIMATE_HOME": str(tmp_path / "service"), "ACCLIMATE_LOG_FORMAT": "text"}
        acclimate(environment, "serve", "--migrate-only")
        serve = [sys.executable, "-m", "acclimate", "serve"]
        running.enter_context(started(serve, environment, f"{url}/readyz", tmp_path / "service.log"))
        operator = Operator(url, ADMIN)
        [release] = operator.read("fleet", "releases")
        assert (release["name"], release["version"]) == ("watch", 1)
        (tmp_path / "scenario.yaml").write_text(json.dumps(SCENARIO))
        devices = operator.start(
            "simulate", tmp_path / "scenario.yaml", "--join", tuf / "metadata" / "1.root.json",
            "--bundle", tmp_path / "bundle", "--json",
        )  # fmt: skip
        printed, said = devices.communicate(timeout=300)
        assert devices.returncode == 0, said[-3000:]
        outcome = json.loads(printed)
        assert outcome["versions"] == {"watch@1": 3}, said
        assert outcome["acknowledged"] == outcome["counted"]["reports"] > 0

        store.kill()
        wrong = person | {"ACCLIMATE_HOME": str(tmp_path / "other"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        command = [sys.executable, "-m", "acclimate", "export", "watch@1", "-o", str(tmp_path / "again")]
        without = subprocess.run(command, env=wrong, capture_output=True, text=True, timeout=600)
        print(without.stderr)
        assert without.returncode == 2, without.stderr
        assert "Traceback" not in without.stderr
        assert not (tmp_path / "again").exists()
        refused = person | {"MLFLOW_TRACKING_PASSWORD": "wrong"}
        without = subprocess.run(command, env=refused, capture_output=True, text=True, timeout=600)
        assert without.returncode == 2, without.stderr
        assert "Traceback" not in without.stderr
        print(without.stderr)
    for log in ("mlflow.log", "service.log"):
        text = (tmp_path / log).read_text()
        assert LOGIN["password"] not in text
        assert SECRET not in text
