"""Hosts as they are: file systems with less than POSIX, accounts, callbacks that raise, records of others."""

import copy
import errno
import fcntl
import json
import os
import pickle
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate_device import Device
from acclimate_device.agent import Agent
from acclimate_device.errors import BundleError, OwnerError, StorageError
from acclimate_device.online.housekeeping import Housekeeping
from acclimate_device.storage import Store, flash
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another account")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, data in tiny_bundle().items():
        (folder / name).write_bytes(data)
    return folder


def live(device: Device, examples: int = 6) -> None:
    stream = GestureDevice(1)
    for _ in range(examples):
        x, y = stream.example()
        device.predict_one(x)
        device.learn_one(x, {"circle": "tap"}.get(y, y))
    device.tick()


# -- state that another version of this package wrote -------------------------------------------------------

CONTENTS = [b"", b"null", b"[]", b"{}", b"\xff\xfe\x00", b'"x"', b'{"schema":99}', b"{}\n", b"1e999", b"NaN"]
CONTENTS += [b'{"a":' * 2000, b"x" * 32]


def adapted(flash: SimulatedFlash) -> list[bytes]:
    """The saved state as a version with another idea of alignments would write it."""
    header, _, body = (Store(flash).read("adapted") or b"").partition(b"\n")
    head = json.loads(header)
    row = {"gain": [1.0], "offset": [0.0], "judged": True}
    before = {"inputs": 9, "mean": [0.0], "spread": [1.0]}
    others = [{"alignment": 5}, {"alignment": {}, "before": {}}, {"alignment": row, "before": 3}]
    others += [{"alignment": row, "before": before}, {"alignment": row | {"gain": ["a"]}, "before": before}]
    return [json.dumps(head | other).encode() + b"\n" + body for other in others] + [header + b"\n", header]


def lived(kind: str) -> SimulatedFlash:
    flash = SimulatedFlash()
    device = Device(tiny_bundle(kind).get, flash)
    live(device, 30)
    device.close()
    return flash


@pytest.mark.parametrize("record", ["adapted", "inputs", "clock", "boot", "assignment", "round", "sealed"])
@pytest.mark.parametrize("kind", ["gradient", "closed-form"])
def test_a_record_of_another_version_stops_no_device(kind: str, record: str) -> None:
    origin = lived(kind)
    for content in CONTENTS + (adapted(origin) if record == "adapted" else []):
        flash = origin.after_power_cut()
        Store(flash).write(record, content)
        device = Device(tiny_bundle(kind).get, flash)
        live(device)
        device.close()
        reports = device._life.keeping._queue.reports()
        assert reports[-1].predictions == 6
        if record == "adapted" and content.startswith(b'{"adapted"') and b"alignment" in content:
            assert "lost_state" in {event.kind for event in reports[-1].events}


@pytest.mark.parametrize(
    "record", ["key", "next-key", "enrolled", "starts", "assignment", "clock", "contributed"]
)
def test_a_record_of_another_version_crashes_no_agent(tmp_path: Path, record: str) -> None:
    for content in CONTENTS:
        service, flash = SimulatedService(SimulatedRepository()), SimulatedFlash()

        def agent(service: SimulatedService = service, flash: SimulatedFlash = flash) -> Agent:
            return Agent(service, flash, service.repository.root, tmp_path / "tuf", contribute=True)

        agent().service.enrol(service.token, "", {}, "")
        agent().service.change_key() if record == "next-key" else None
        Store(flash).write(record, content)
        again = agent()
        again.round()
        again.round()


# -- what an application's own code and process do ----------------------------------------------------------


def test_housekeeping_outlives_whatever_a_callback_raises(caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Semaphore(0)

    def tick() -> None:
        calls.release()
        raise ZeroDivisionError("the battery has no gauge")

    housekeeping = Housekeeping(tick)
    assert all(calls.acquire(timeout=10.0) for _ in range(3))
    housekeeping.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "housekeeping failed, trying again: the battery has no gauge"
    ]
    assert "Traceback" in caplog.text


def test_a_device_that_could_not_start_leaves_its_folder_free(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            Device.open(bundle, tmp_path / "state")
    Device.open(bundle, tmp_path / "state").close()


def test_a_closed_device_writes_into_nobody_elses_folder(bundle: Path, tmp_path: Path) -> None:
    closed = Device.open(bundle, tmp_path / "state")
    live(closed, 30)
    closed.close()
    x, _ = GestureDevice(1).example()
    with Device.open(bundle, tmp_path / "state") as device:
        calls = [
            lambda: closed.learn_one(x, "tap"),
            closed.reset,
            closed.tick,
            lambda: closed.keep("mine", b"1"),
        ]
        for call in calls:
            with pytest.raises(OwnerError, match="was closed"):
                call()
        closed.close()
        assert closed.predict_one(x)
        assert device.adapted


@pytest.mark.parametrize("do", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_device_is_not_copied(do: Callable[[Device], object]) -> None:
    with pytest.raises(TypeError, match="open one in each process, with"):
        do(Device(tiny_bundle().get, SimulatedFlash()))


@pytest.mark.parametrize(
    ("name", "data"),
    [("a", "text"), ("a", None), ("A", b""), (5.5, b""), ("../boot", b""), ("a", bytes(2**20 + 1))],
)
def test_what_cannot_be_kept_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="use a-z, 0-9, - and at most"):
        Device(tiny_bundle().get, SimulatedFlash()).keep(name, data)


# -- file systems with less than POSIX, and names that none has ---------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_without_locks_nothing_is_written_and_health_says_why(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Device.open(bundle, tmp_path / "state") as device:
        live(device)
        assert not device.keep("mine", b"1")
        device.tick()
        assert "has no locks" in device.health.storage


@pytest.mark.parametrize(
    "code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EIO], ids=errno.errorcode.get
)
def test_a_folder_that_knows_no_fsync_keeps_what_it_is_given(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with Device.open(bundle, tmp_path / "state") as device:
        assert device.keep("mine", b"1") == (code != errno.EIO), "an error of the disk is one"


def test_a_process_that_is_stopped_with_the_lock_stops_no_other(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash, "_PATIENCE_S", 0.2)
    with Device.open(bundle, tmp_path / "state") as device:
        holder = os.open(tmp_path / "state" / ".lock", os.O_RDONLY | os.O_CREAT)
        fcntl.flock(holder, fcntl.LOCK_EX)
        live(device)
        assert not device.keep("mine", b"1")
        device.tick()
        assert "another process has had it locked" in device.health.storage
        os.close(holder)
        assert device.keep("mine", b"1")
        device.tick()
        assert not device.health.storage


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300], ids=["nul", "surrogate", "long"])
def test_a_name_that_no_folder_has_is_trouble_of_storage(bundle: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError):
        Device.open(bundle, tmp_path / name)
    with pytest.raises(BundleError):
        Device.open(tmp_path / name, tmp_path / "state")


# -- accounts -----------------------------------------------------------------------------------------------


@as_root
def test_what_root_does_once_the_owner_of_the_folder_can_still_use(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    with Device.open(bundle, state) as device:
        live(device)
        assert device.keep("mine", b"1")
    made = [path for path in state.rglob("*") if path.stat().st_uid != NOBODY]
    assert len(list(state.rglob("*"))) > 5
    assert not made


@as_root
def test_a_bundle_that_the_account_may_not_read_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    bundle.chmod(0o755)
    (bundle / "manifest.json").chmod(0o600)
    monkeypatch.chdir(tmp_path)  # those above belong to root alone
    os.seteuid(NOBODY)
    try:
        with pytest.raises(BundleError, match=r"manifest\.json: Permission denied: let this account read it"):
            Device.open("bundle", "state")
    finally:
        os.seteuid(0)
