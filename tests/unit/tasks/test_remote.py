"""A pool in an object store: what a local one is, and whatever becomes of store, cache and builders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError, StoreError
from acclimate.tasks import EpisodePlan, RecordingSchema, TaskPool, build_pool, from_files, report_on
from acclimate.tasks.building.shards import build_in_store
from acclimate.tasks.pool.periods import restricted
from acclimate.tasks.pool.remote import blocks, ranged
from acclimate.tasks.pool.remote.document import pinned
from acclimate.tasks.pool.stream import stream

SCHEMA = RecordingSchema(
    kind="classification",
    task="device",
    channels=("x", "y"),
    label="label",
    time="t",
    recording="session",
    window=8,
    stride=3,
    missing="hold",
)
DEVICES = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Blocks of a few rows, a cache of this test's own, and nobody waits."""
    monkeypatch.setattr(ranged, "BLOCK_BYTES", 512)
    monkeypatch.setattr(blocks, "PAUSES_S", (0.0,))
    monkeypatch.setenv("ACCLIMATE_POOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A file a day, of most devices each; sessions in an order of each device's own, some values missing."""
    drawn = np.random.default_rng(0)
    folder = tmp_path / "recordings"
    folder.mkdir()
    for day in range(3):
        rows = []
        for device in DEVICES[: 3 + day]:
            for number, session in enumerate(("s2", "s1") if device in "bd" else ("s1", "s2")):
                for at in range(60):
                    t = day * 1000.0 + number * 100 + at
                    x = None if drawn.random() < 0.02 else float(drawn.normal())
                    label = ("rest", "walk")[(at // 30 + day) % 2]
                    rows.append((device, f"{day}{session}", t, x, float(at), label))
        columns = ("device", "session", "t", "x", "y", "label")
        table = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
        pq.write_table(table.take(drawn.permutation(len(table))), folder / f"day-{day}.parquet")
    return folder


def built(recordings: Path, url: str, **changes: Any) -> TaskPool:
    build_in_store(from_files(str(recordings)), replace(SCHEMA, **changes), url, shard_rows=300)
    return TaskPool.open(url)


def local(recordings: Path, folder: Path, **changes: Any) -> TaskPool:
    return build_pool(from_files(str(recordings)), replace(SCHEMA, **changes), folder / "local")


def test_it_is_what_a_local_pool_is(recordings: Path, tmp_path: Path) -> None:
    ours, theirs = local(recordings, tmp_path), built(recordings, f"file://{tmp_path}/far")
    assert len(list((tmp_path / "far").glob("*/*/shard.json"))) > 2
    for name in ("values", "times", "starts", "rows", "cells"):
        np.testing.assert_array_equal(np.asarray(getattr(theirs, name)), np.asarray(getattr(ours, name)))
    same = {"content_hash": ""}
    assert replace(theirs.info, **same) == replace(ours.info, **same)
    plan = EpisodePlan(shots=2, query_shots=3)
    far, near = report_on(theirs, plan).as_dict(), report_on(ours, plan).as_dict()
    assert {**far, **same} == {**near, **same}
    every = np.arange(len(DEVICES))
    assert theirs.normalization(every) == ours.normalization(every)
    for pool, other in ((theirs, ours), (restricted(theirs, 0.9), restricted(ours, 0.9))):
        drawn, expected = (
            each.sampler(every, plan, ours.normalization(every), 7).episodes(3, range(4))
            for each in (pool, other)
        )
        for half, wanted in ((drawn.support, expected.support), (drawn.query, expected.query)):
            assert all(map(torch.equal, half, wanted))
    for there, here in zip(stream(theirs, 3), stream(ours, 3), strict=True):
        np.testing.assert_array_equal(there.x, here.x)
        assert (there.y, there.row, there.time) == (here.y, here.row, here.time)


def test_channels_that_need_it_are_float64_in_every_shard(recordings: Path, tmp_path: Path) -> None:
    table = pq.read_table(recordings / "day-2.parquet")
    fine = pa.array([None if x is None else 1e9 + x / 100 for x in table["x"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("x"), "x", fine), recordings / "day-2.parquet")
    ours, theirs = local(recordings, tmp_path), built(recordings, f"file://{tmp_path}/far")
    assert theirs.values.dtype == ours.values.dtype == np.float64
    np.testing.assert_array_equal(np.asarray(theirs.values), ours.values)
    assert theirs.info.intake == ours.info.intake


def test_shards_refuse_what_a_build_refuses(recordings: Path, tmp_path: Path) -> None:
    def refusal(build: Callable[..., Any], *where: Any, **changes: Any) -> str:
        with pytest.raises(DataError) as refused:
            build(recordings, *where, **changes)
        return str(refused.value)

    for changes in ({"missing": "error"}, {"window": 5000, "stride": 1}, {"channels": ("x", "z")}):
        far = refusal(built, f"file://{tmp_path}/far", **changes)
        assert far == refusal(local, tmp_path, **changes)
    with pytest.raises(DataError, match="holds no task pool"):
        TaskPool.open(f"file://{tmp_path}/far")


keys = st.one_of(
    st.integers(-40, 39),
    st.slices(40),
    st.lists(st.integers(-40, 39), max_size=30).map(lambda rows: np.array(rows, dtype=np.int64)),
    st.lists(st.integers(0, 39), min_size=4, max_size=4).map(lambda rows: np.array(rows).reshape(2, 2)),
    st.lists(st.booleans(), min_size=40, max_size=40).map(np.array),
)


@settings(
    deadline=None, suppress_health_check=list(HealthCheck)
)  # one folder for all; a slow machine is no fault
@given(
    key=keys, cuts=st.lists(st.integers(1, 39), unique=True).map(sorted), shape=st.sampled_from([(), (3,)])
)
def test_rows_are_numpys(key: Any, cuts: list[int], shape: tuple[int, ...]) -> None:
    files = fsspec.filesystem("memory")
    whole = np.arange(40 * int(np.prod(shape)), dtype=np.float32).reshape(40, *shape)
    pieces = []
    for part in np.split(whole, cuts):
        each = ranged.block_rows(part[0].nbytes) * part[0].nbytes
        content = part.tobytes()
        digests = [blocks.digest_of(content[at : at + each]) for at in range(0, len(content), each)]
        files.pipe_file(f"/pool/{len(pieces)}", b"head" + content)
        rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, blocks.DIGEST_BYTES)
        pieces.append(ranged.Piece(f"/pool/{len(pieces)}", 4, len(part), rows))
    far = ranged.Ranged(blocks.Blocks("memory://pool"), whole.dtype, shape, pieces)
    assert far.shape == whole.shape
    np.testing.assert_array_equal(far[key], whole[key])


def test_what_is_known_is_not_asked_for_again_and_the_cache_is_bounded(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/far"
    whole = np.asarray(built(recordings, url).values)
    again = TaskPool.open(url).values
    assert isinstance(again, ranged.Ranged)
    assert np.array_equal(np.asarray(again), whole, equal_nan=True)
    assert again.blocks.counts["disk"] == len(list((tmp_path / "cache").glob("*/*")))
    assert again.blocks.counts["store"] == 0

    monkeypatch.setenv("ACCLIMATE_POOL_CACHE", str(tmp_path / "small"))
    monkeypatch.setenv("ACCLIMATE_POOL_CACHE_GB", "0.000008")  # 8 kB
    monkeypatch.setattr(blocks, "IN_MEMORY", 2)
    small = TaskPool.open(url).values
    assert isinstance(small, ranged.Ranged)
    for _ in range(3):
        assert np.array_equal(np.asarray(small), whole, equal_nan=True)
    assert small.blocks.counts["store"] > again.blocks.counts["disk"], "all of it fitted in"
    assert size(tmp_path / "small") <= 8_000 + 2 * 512


def test_a_damaged_cache_is_no_harm(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/far"
    whole = np.asarray(built(recordings, url).values)
    for number, file in enumerate(sorted((tmp_path / "cache").glob("*/*"))):
        file.write_bytes(b"" if number % 2 else file.read_bytes()[:-1] + b"?")
    assert np.array_equal(np.asarray(TaskPool.open(url).values), whole, equal_nan=True)


def test_without_room_on_disk_it_reads_on(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = local(recordings, tmp_path)
    (tmp_path / "occupied").write_text("no folder")
    monkeypatch.setenv("ACCLIMATE_POOL_CACHE", str(tmp_path / "occupied"))
    pool = built(recordings, f"file://{tmp_path}/far")
    assert np.array_equal(np.asarray(pool.values), ours.values, equal_nan=True)
    said = [one for one in caplog.records if one.getMessage() == "pool-cache-cannot-be-written"]
    assert len(said) == 1


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def written(file: Path) -> tuple[int, int]:
    """Which file it is and when it was written; reading changes neither."""
    about = file.stat()
    return about.st_ino, about.st_mtime_ns


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("harm", [cut_short, changed, None])
def test_an_object_that_changes_under_the_reader_is_told(
    recordings: Path, tmp_path: Path, harm: Callable[[bytes], bytes] | None
) -> None:
    pool = built(recordings, f"file://{tmp_path}/far")
    for file in (tmp_path / "far").rglob("values.npy"):
        if harm is None:
            file.unlink()
        else:
            file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(DataError, match=r"is gone|cut short or changed"):
        np.asarray(pool.values)


def test_a_store_that_is_down_is_waited_for_and_then_told(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = built(recordings, f"file://{tmp_path}/far")
    whole = np.asarray(local(recordings, tmp_path).values)
    down = iter((True, False))
    ask = pool.values.blocks._files.cat_ranges

    def sometimes(*given: Any, **more: Any) -> Any:
        if next(down, True):
            raise StoreError("nobody listens")
        return ask(*given, **more)

    monkeypatch.setattr(pool.values.blocks._files, "cat_ranges", sometimes)
    assert np.array_equal(pool.values[:30], whole[:30], equal_nan=True)
    assert "pool-store-does-not-answer" in caplog.messages
    with pytest.raises(StoreError, match="nobody listens"):
        np.asarray(pool.values)


def test_a_killed_builder_leaves_nothing_that_opens_and_the_next_goes_on(
    recordings: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/far"

    def killed(build: Callable[..., Any], jobs: Mapping[str, Any]) -> Any:
        first, *_ = jobs
        yield first, build(jobs[first])
        raise KeyboardInterrupt

    source = from_files(str(recordings))
    with pytest.raises(KeyboardInterrupt):
        build_in_store(source, SCHEMA, url, shard_rows=300, run=killed)
    with pytest.raises(DataError, match="holds no task pool"):
        TaskPool.open(url)
    [kept] = (tmp_path / "far").glob("*/*/shard.json")
    before = written(kept.with_name("values.npy"))
    pool = built(recordings, url)
    assert written(kept.with_name("values.npy")) == before, "it was built again"
    assert np.array_equal(
        np.asarray(pool.values), np.asarray(local(recordings, tmp_path).values), equal_nan=True
    )


def test_two_builders_at_once_make_one_pool(recordings: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/far"
    both = [threading.Thread(target=built, args=(recordings, url)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    expected = np.asarray(local(recordings, tmp_path).values)
    assert np.array_equal(np.asarray(TaskPool.open(url).values), expected, equal_nan=True)


def test_who_reads_a_pool_reads_it_to_the_end_when_another_is_built_there(
    recordings: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/far"
    pool = built(recordings, url)
    pinned(url, tmp_path / "pinned")
    rebuilt = built(recordings, url, channels=("y", "x"))
    assert rebuilt.info.content_hash != pool.info.content_hash
    expected = np.asarray(local(recordings, tmp_path).values)
    for before in (pool, TaskPool.open(tmp_path / "pinned")):
        assert before.info.content_hash == pool.info.content_hash
        assert np.array_equal(np.asarray(before.values), expected, equal_nan=True)


@pytest.mark.parametrize(
    "said", ['{"stored": 1}', '{"stored": {"build": "x"}, "format": 2}', '{"format": 2', "[]"]
)
def test_a_document_of_something_else_is_told(tmp_path: Path, said: str) -> None:
    (tmp_path / "pool.json").write_text(said)
    with pytest.raises(DataError, match=r"(is not a|holds no) task pool"):
        TaskPool.open(f"file://{tmp_path}")


def test_built_twice_is_built_once(recordings: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/far"
    built(recordings, url)
    before = written(tmp_path / "far" / "pool.json")
    source = from_files(str(recordings))
    build_in_store(source, SCHEMA, url, run=lambda build, jobs: pytest.fail("again"))
    assert written(tmp_path / "far" / "pool.json") == before
