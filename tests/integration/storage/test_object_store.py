"""Recordings and bundles in a real S3 server: the whole way, and each trouble a store can make."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.compat
import httpx
import numpy as np
import pytest
import s3fs
from click.testing import CliRunner, Result

from acclimate import object_store
from acclimate.cli.main import cli
from acclimate.errors import DataError, StoreError
from acclimate.tasks import TaskPool
from acclimate.tasks.building import shards
from acclimate.tasks.pool.remote import blocks
from acclimate.tasks.sources import from_files
from acclimate.training.engine import engine
from acclimate.training.loop import OuterState
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate_device.testing import tiny_bundle
from tests.support.fleet_journey import Operator, all_is_there, roll_out, sign_two_versions
from tests.support.s3 import READER, READER_SECRET, S3Server
from tests.support.serving import ADMIN, Served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def login(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the environment's credentials; clients made before are forgotten."""

    def log_in(**changed: str | None) -> None:
        for name, value in (server.environment() | changed).items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()

    log_in()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    return log_in


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TUF repository with its keys, and a bundle that was never published."""
    folder = tmp_path_factory.mktemp("repository")
    Operator().run("repo", "init", folder / "tuf", "--keys", folder / "keys", "--unencrypted")
    (folder / "bundle").mkdir()
    for name, content in tiny_bundle().items():
        (folder / "bundle" / name).write_bytes(content)
    return folder


def publish(folder: Path, url: str) -> Result:
    arguments = ["repo", "publish", folder / "tuf", folder / "bundle", "--key", folder / "keys"]
    return CliRunner().invoke(cli, [*map(str, arguments), "--artifacts-url", url])


def test_recordings_in_a_bucket_are_read_as_from_a_folder(server: S3Server, login, tmp_path: Path) -> None:
    bucket = server.make_bucket("recordings")
    files, _ = object_store.open_store(bucket)
    for device in ("a", "b"):
        (tmp_path / f"{device}.csv").write_text(
            "t,x,y\n" + "".join(f"{row},{row / 3},{device}\n" for row in range(500))
        )
        files.put_file(str(tmp_path / f"{device}.csv"), f"recordings/{device}.csv")
    ours, theirs = from_files(str(tmp_path)), from_files(bucket)
    assert theirs.rows == ours.rows == 1000
    assert theirs.types == ours.types
    for there, here in zip(theirs.batches(["x", "file"]), ours.batches(["x", "file"]), strict=True):
        assert there.column("x").equals(here.column("x"))
        assert there.where(0) == here.where(0)
    before = theirs.fingerprint
    files.pipe_file("recordings/b.csv", b"t,x,y\n0,1,b\n")
    assert from_files(bucket).fingerprint != before, "a store's file that changes is another source"


def fleet_of_csv(folder: Path) -> None:
    folder.mkdir()
    drawn = np.random.default_rng(0)
    for device in "abcdef":
        level = drawn.normal(size=400).cumsum()
        rows = "".join(f"{at},{x:.4f},{device}\n" for at, x in enumerate(level))
        (folder / f"{device}.csv").write_text(f"t,x,device\n{rows}")


POOLED: dict[str, Any] = {
    "name": "pooled",
    "data": {"source": "", "test": 2},
    "learner": {"algorithm": "maml", "inner_steps": 1},
    "training": {"steps": 3, "meta_batch": 4, "workers": 0},
}
MEANING = {
    "kind": "forecasting",
    "task": "device",
    "time": "t",
    "channels": ["x"],
    "targets": ["x"],
    "window": 8,
    "stride": 2,
    "horizon": 1,
}


def trained(source: str) -> str:
    """Content hash of what a few steps on the pool make."""
    recipe = Recipe.model_validate({**POOLED, "data": {**POOLED["data"], "source": source}})
    problem = open_problem(recipe)
    state = OuterState.begin(problem.start(), recipe.training.optimizer)
    quiet = {"on_step": lambda _: None, "on_checkpoint": lambda _: None, "should_stop": lambda: False}
    with engine({"meta-0": problem}, None) as train_phase:
        train_phase("meta-0", state, **quiet)
    return problem.initialization(state.result).content_hash()


def built(folder: Path, pool: str, *options: str) -> None:
    (folder / "meaning.yaml").write_text(json.dumps(MEANING))  # JSON is YAML
    named = ["data", "build", f"{folder}/csv", "--recordings", f"{folder}/meaning.yaml", "--pool", pool]
    told = CliRunner().invoke(cli, [*named, *options])
    assert told.exit_code == 0, told.output + repr(told.exception)


def test_a_pool_in_a_bucket_trains_to_the_bits_of_a_local_one_and_a_store_that_fails_is_told(
    server: S3Server, login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(shards, "SHARD_ROWS", 1000)
    monkeypatch.setattr(blocks, "PAUSES_S", (0.1,))
    fleet_of_csv(tmp_path / "csv")
    bucket = server.make_bucket("pools")
    built(tmp_path, str(tmp_path / "pool"))
    built(tmp_path, f"{bucket}/fleet")
    assert trained(f"{bucket}/fleet") == trained(str(tmp_path / "pool"))
    with pytest.raises(DataError, match="holds no task pool"):
        TaskPool.open(f"{bucket}/elsewhere")

    monkeypatch.setenv("ACCLIMATE_POOL_CACHE_GB", "0")
    pool = TaskPool.open(f"{bucket}/fleet")
    files, _ = object_store.open_store(bucket)
    [first, *_] = files.glob("pools/fleet/*/*/values.npy")
    whole = files.cat_file(first)
    for left in (len(whole) - 4, 100):  # a part of a block, and none of one
        files.pipe_file(first, whole[:left])
        with pytest.raises(DataError, match="cut short"):
            np.asarray(pool.values)
    login(AWS_SECRET_ACCESS_KEY="wrong")
    with pytest.raises(StoreError, match="are the credentials right"):
        np.asarray(TaskPool.open(f"{bucket}/fleet").values)
    login()
    pool = TaskPool.open(f"{bucket}/fleet")
    server.kill()
    try:
        with pytest.raises(StoreError, match="does it run"):
            np.asarray(pool.values)
    finally:
        server.start()


@pytest.mark.nightly
def test_ray_workers_build_the_shards(
    server: S3Server, login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(shards, "SHARD_ROWS", 500)
    fleet_of_csv(tmp_path / "csv")
    bucket = server.make_bucket("shards")
    built(tmp_path, str(tmp_path / "pool"))
    built(tmp_path, f"{bucket}/fleet", "--workers", "2")
    ours, theirs = TaskPool.open(tmp_path / "pool"), TaskPool.open(f"{bucket}/fleet")
    np.testing.assert_array_equal(np.asarray(theirs.values), ours.values)
    np.testing.assert_array_equal(np.asarray(theirs.starts), ours.starts)


def skewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is five hours slow, for whoever signs requests and for us."""
    hours = timedelta(hours=5)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() - hours.total_seconds())
    for module in (botocore.auth, botocore.compat):
        late = lambda *_, **__: (datetime.now(UTC) - hours).replace(tzinfo=None)  # noqa: E731
        monkeypatch.setattr(module, "get_current_datetime", late)


TROUBLES = {
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "are the credentials right"),
    "nobody": ({"AWS_ACCESS_KEY_ID": "nobody"}, "are the credentials right"),
    "no credentials": (
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "nothing there": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does it run, and is its address right"),
    "no address": ({"AWS_ENDPOINT_URL": "store.example"}, "is its address right"),
    "clock": ({}, "set it, by NTP"),
    "hung": ({}, "does it run"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_in_trouble_is_named_with_a_remedy_and_nothing_is_half_published(
    server: S3Server, login, repository: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    changed, remedy = TROUBLES[trouble]
    monkeypatch.setattr(object_store, "ANSWER_S", 0.5)
    monkeypatch.setattr(object_store, "TRIES", 2)
    login(**changed)
    if trouble == "clock":
        skewed(monkeypatch)
    if trouble == "hung":
        os.kill(server.pid, signal.SIGSTOP)
    before = {path: path.read_bytes() for path in (repository / "tuf" / "metadata").iterdir()}
    try:
        done = publish(repository, "s3://bundles/targets")
        with pytest.raises(DataError) as data:
            _ = from_files("s3://recordings/").rows
    finally:
        os.kill(server.pid, signal.SIGCONT)
    said = str(done.exception) + done.output
    assert remedy in said
    assert remedy in str(data.value)
    assert "s3://bundles/targets" in said
    assert "publish it again" in said
    assert {path: path.read_bytes() for path in (repository / "tuf" / "metadata").iterdir()} == before


def test_who_may_only_read_publishes_nothing(server: S3Server, login, repository: Path) -> None:
    server.make_bucket("read-only")
    login(AWS_ACCESS_KEY_ID=READER, AWS_SECRET_ACCESS_KEY=READER_SECRET)
    said = str(publish(repository, "s3://read-only/targets").exception)
    assert "may they list, read and write there" in said


def test_bundles_go_through_the_store_to_devices_and_a_store_that_is_down_is_no_defect(
    server: S3Server, login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = server.make_bucket("bundles")
    monkeypatch.setenv("ACCLIMATE_ARTIFACTS_URL", f"{bucket}/targets")
    sign_two_versions(tmp_path)
    assert not (tmp_path / "tuf" / "targets").exists() or not any((tmp_path / "tuf" / "targets").rglob("*.*"))
    served = Served(tmp_path)
    served.start(ACCLIMATE_TUF_DIRECTORY=str(tmp_path / "tuf"))
    try:
        operator = Operator(served.url, ADMIN)
        roll_out(operator, tmp_path)
        all_is_there(operator)
        url = f"{served.url}/api/v1/releases"
        whole = httpx.get(url, headers=served.admin)
        assert whole.status_code == 200
        server.kill()
        try:
            answer = httpx.get(url, headers=served.admin, timeout=60)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
            assert answer.json()["detail"] == "the store of bundles cannot be reached"
            assert httpx.get(f"{served.url}/readyz").status_code == 200, "devices' states need no store"
        finally:
            server.start()
        deadline = time.monotonic() + 60  # the store answers before it knows again where its volumes are
        while (again := httpx.get(url, headers=served.admin, timeout=60)).status_code == 503:
            assert time.monotonic() < deadline, again.text
            time.sleep(0.5)
        assert again.content == whole.content
    finally:
        served.stop()
    assert "Traceback" not in served.log
    assert "store-unavailable" in served.log
