"""Flash that fails, clocks that leap, processes that fork or are doubled: the application never notices."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.agent.outbox import Outbox
from acclimate_device.agent.transport import Response
from acclimate_device.errors import OwnerError, StorageError, TransportError, UntrustedError
from acclimate_device.protocol import REPORT_PATH
from acclimate_device.storage import Boot, Claim, FileFlash, Slots, Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from tests.support.gateway import Gateway, release_of, version
from tests.unit.device.test_device import Renamed, device, learn
from tests.unit.device.test_queue import report

DAY = 86_400.0


def shipped(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in tiny_bundle().items():
        (folder / name).write_bytes(content)
    return folder


def reports(flash: SimulatedFlash) -> list:
    return list(ReportQueue(Store(flash)).reports())


# -- flash -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", ["Read-only file system", "No space left on device"])
def test_trouble_of_the_flash_reaches_no_call_and_ends_when_the_flash_recovers(refusal: str) -> None:
    flash, stream, now = SimulatedFlash(), GestureDevice(10), [1e9]
    learner = device(flash, lambda: now[0])
    learn(learner, stream, 200)
    learner.tick()
    assert learner.health.ok
    flash.refuses = refusal
    for at, (x, y) in enumerate(Renamed(stream).examples(120)):  # labels turn: a drift, a reset, adaptations
        now[0] += 60.0
        learner.learn_one(x, y)
        assert learner.predict_one(x) in ("circle", "shake", "tap")
        if at % 5 == 0:
            learner.tick()
    learner.reset()
    learner.tick()
    assert refusal in learner.health.storage
    assert learner.health.reports_held > 0
    flash.refuses = ""
    now[0] += 1000.0
    learner.tick()
    learner.tick()
    assert learner.health.ok
    assert learner.health.reports_held == 0
    learner.close()
    waiting = reports(flash)
    assert sum(one.start_loss.count + one.adapted_loss.count for one in waiting) == 320
    kinds = [event.kind for one in waiting for event in one.events]
    assert kinds.index("storage_failed") < kinds.index("storage_recovered")


def test_a_call_of_the_flash_that_fails_reaches_no_call_and_costs_no_report() -> None:
    """Each in its turn, half done, and the one after it."""

    def live(flash: SimulatedFlash) -> None:
        now, stream, policy = [1e9], GestureDevice(3), OnlinePolicy(report_s=60, save_s=30)
        with Device(tiny_bundle().get, flash, policy, clock=lambda: now[0]) as learner:
            for at, (x, y) in enumerate(stream.examples(20)):
                now[0] += 10.0
                learner.learn_one(x, y)
                learner.predict_one(x)
                if at % 5 == 0:
                    learner.tick()

    whole = SimulatedFlash()
    live(whole)
    assert whole.calls > 40
    for at in range(whole.calls):
        flash = SimulatedFlash()
        flash.refused = range(at, at + 2)
        live(flash)
        assert sum(one.predictions for one in reports(flash)) == 20, at


def test_closing_on_flash_that_is_gone_raises_nothing() -> None:
    flash, stream = SimulatedFlash(), GestureDevice(1)
    learner = device(flash)
    learn(learner, stream, 30)
    flash.refuses = "Read-only file system"
    learner.close()


def test_reports_held_in_memory_stay_few_and_lose_no_count() -> None:
    flash = SimulatedFlash()
    queue = ReportQueue(Store(flash))
    flash.refuses = "No space left on device"
    for number in range(400):
        queue.add(report(number))
    assert queue.held <= 64
    flash.refuses = ""
    queue.flush()
    assert sum(one.windows for one in queue.reports()) == 400


def test_a_full_disk_drains_by_sending() -> None:
    """What was acknowledged can be deleted, and gives the room for going on."""
    flash = SimulatedFlash()
    queue = ReportQueue(Store(flash))
    for number in range(70):
        queue.add(report(number))
    put, full = flash._put, sum(flash.size(name) or 0 for name in flash.names(""))

    def limited(name: str, data: bytes) -> None:
        if sum(flash.size(name) or 0 for name in flash.names("")) + len(data) > full:
            raise StorageError(f"{name}: No space left on device")
        put(name, data)

    flash._put = limited
    queue.add(report(70))
    assert queue.held
    sent = []
    while batch := queue.next_batch():
        sent += [one.id for one in batch.reports]
        queue.acknowledge(batch, {one.id for one in batch.reports})
    assert len(sent) == len(set(sent)) == 71


def test_on_read_only_flash_neither_damage_nor_foreign_files_stop_the_queue() -> None:
    flash = SimulatedFlash()
    queue = ReportQueue(Store(flash))
    for number in range(5):
        queue.add(report(number))
    for name in flash.names("outbox/")[2:4]:
        flash.flip(name, 99)
    flash.write("outbox/foreign", b"x")
    flash.refuses = "Read-only file system"
    batch = ReportQueue(Store(flash)).next_batch()
    assert len(batch.reports) == 4


def test_on_read_only_flash_a_trial_is_not_begun_for_its_starts_could_not_be_counted(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)
    gateway.agent.poll()
    gateway.device.tick()
    gateway.flash.refuses = "Read-only file system"
    assert [gateway.application().release.version for _ in range(5)] == [1] * 5
    gateway.flash.refuses = ""
    assert gateway.application().release == release_of(2)


def test_records_that_cannot_be_read_are_neither_lost_nor_replaced() -> None:
    flash, stream = SimulatedFlash(), GestureDevice(1)
    learner = device(flash)
    learn(learner, stream, 30)
    learner.close()
    flash.unreadable = set(flash.names(""))
    blind = device(flash)
    assert blind.predict_one(stream.example()[0]) in ("circle", "shake", "tap")
    blind.tick()
    assert "Input/output error" in blind.health.storage
    flash.unreadable = set()
    assert device(flash).adapted


def test_files_are_refused_with_one_kind_of_error(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path / "state")
    (tmp_path / "state" / "file").write_bytes(b"")
    for call in (
        lambda: flash.size("file/below"),
        lambda: flash.read("file/below"),
        lambda: flash.write("file/below", b""),
        lambda: flash.sync("nothing"),
        lambda: flash.rename("nothing", "else"),
        lambda: flash.delete("file/below"),
        lambda: flash.names("x" * 300 + "/"),
        lambda: FileFlash(tmp_path / "state" / "file"),
    ):
        with pytest.raises(StorageError, match="free some space or mend its permissions"):
            call()


def test_a_full_disk_is_no_failure_of_trust_and_no_failed_canary(tmp_path: Path, monkeypatch) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tuf.ngclient.updater.Updater._persist_file", full)
        with pytest.raises(StorageError, match="No space left"):
            gateway.agent.poll()
    gateway.agent.send_reports()
    assert not gateway.service.reports
    assert gateway.agent.poll()


def test_a_key_lost_in_both_copies_is_never_replaced_in_silence(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    for name in ("key.0", "key.1"):
        gateway.flash.flip(name, 99)
    for _ in range(2):
        with pytest.raises(UntrustedError, match="--new-key"):
            gateway.application() and gateway.agent.identity.key()


def test_a_report_the_service_cannot_read_is_not_in_the_way_of_others(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    queue = ReportQueue(Store(gateway.flash))
    for number in range(40):
        queue.add(report(number))
    poison = {report(number).id for number in (0, 17)}
    take = gateway.service._take_reports

    def picky(headers: dict, body: bytes):
        answer = take(headers, body)
        if poison & set(gateway.service.reports):
            for one in poison:
                gateway.service.reports.pop(one, None)
            return gateway.service._problem(400, "malformed")
        return answer

    gateway.service._take_reports = picky
    assert gateway.agent.send_reports() == 40
    assert len(gateway.service.reports) == 38
    assert not queue.reports()


@pytest.mark.parametrize("most", [12_000, 2_500, 100])
def test_whoever_is_between_may_let_little_through_at_once(tmp_path: Path, most: int) -> None:
    """A web server's or broker's limit says nothing of a report: none is dropped for it."""
    gateway = Gateway(tmp_path)
    for number in range(20):
        gateway.agent._outbox.tell(report(number))
    honest = gateway.service.request

    def between(method, path, headers, body, most_bytes):
        if path == REPORT_PATH and len(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body) > most:
            return Response(413, {"content-type": "text/html"}, b"<html>413 Request Entity Too Large</html>")
        return honest(method, path, headers, body, most_bytes)

    gateway.service.request = between
    if most > 1000:
        assert gateway.agent.send_reports() == 20
    else:
        with pytest.raises(TransportError, match="settles none"):
            gateway.agent.send_reports()
    assert len(gateway.service.reports) + len(ReportQueue(Store(gateway.flash)).reports()) == 20
    assert gateway.agent._outbox.unfit == 0


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb\x1b", b"x" * 255, b"pipe", b"folder"])
def test_a_foreign_file_in_any_folder_stops_nothing_and_is_told(tmp_path: Path, name: bytes) -> None:
    gateway = Gateway(tmp_path)
    gateway.flash = flash = FileFlash(tmp_path / "state")
    store = Store(flash)
    queue = ReportQueue(store)
    queue.add(report(1))
    for folder in ("", "outbox/", "aside/", "a/", "b/", "download/", "tuf/"):
        path = os.fsencode(flash.root / folder) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make = {b"pipe": os.mkfifo, b"folder": os.mkdir}.get(name, lambda path: open(path, "xb").close())
        make(path)
    assert len(queue.reports()) == 1
    Slots(store).stage("a", version(2))
    assert Slots(store).holds("a", release_of(2))
    mishaps = store.take_mishaps()
    assert len(mishaps) == (name != b"folder")
    Outbox(queue, gateway.agent.service, lambda: 1e9, lambda: "f" * 32).tell_mishaps(
        mishaps, Boot(release=release_of(2))
    )
    assert not queue.held
    assert gateway.agent.service.report(queue.reports()).refused == ()


def test_what_is_no_file_in_a_records_place_is_damage(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path)
    for number, (make, other) in enumerate(((os.mkfifo, True), (os.mkdir, True), (os.mkdir, False))):
        name = f"record{number}"
        Store(flash).write(name, b"kept")
        for ending in (".0",) if other else (".0", ".1"):
            (tmp_path / f"{name}{ending}").unlink()
            make(tmp_path / f"{name}{ending}")
        assert Store(flash).read(name) == (b"kept" if other else None)
        Store(flash).write(name, b"new")
        assert Store(flash).read(name) == b"new"


def test_a_download_that_is_refused_for_ever_holds_no_report_back(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)
    gateway.repository.files = dict.fromkeys(gateway.repository.files, b'{"signatures": []}')
    ReportQueue(Store(gateway.flash)).add(report(1))
    gateway.agent.round()
    assert gateway.service.reports[report(1).id] == report(1)
    told = [event.kind for one in gateway.service.reports.values() for event in one.events]
    assert told == ["refused"]


# -- time --------------------------------------------------------------------------------------------------


def test_a_state_folder_has_one_application_and_one_agent(tmp_path: Path) -> None:
    bundle, state = shipped(tmp_path / "bundle"), tmp_path / "state"
    with Device.open(bundle, state), pytest.raises(OwnerError, match=f"process {os.getpid()}"):
        Device.open(bundle, state)
    code = (
        "import sys, time; from pathlib import Path; from acclimate_device.storage import Claim\n"
        f"claim = Claim(Path({str(state)!r}), 'application'); print('mine', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"mine\n"
    with pytest.raises(OwnerError, match=f"in use by the application of process {other.pid}"):
        Device.open(bundle, state)
    with Claim(state, "agent"):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    Device.open(bundle, state).close()


def test_a_forked_process_is_refused_and_leaves_the_parent_alone(tmp_path: Path) -> None:
    bundle, state = shipped(tmp_path / "bundle"), tmp_path / "state"
    code = f"""
import os, sys
from acclimate_device import Device
from acclimate_device.errors import OwnerError
from acclimate_device.testing import GestureDevice
device = Device.open({str(bundle)!r}, {str(state)!r})
x, y = GestureDevice(1).example()
device.predict_one(x)
child = os.fork()
if not child:
    refused = 0
    for call in (lambda: device.predict_one(x), lambda: device.learn_one(x, y), device.reset, device.tick):
        try:
            call()
        except OwnerError as error:
            refused += "after the fork" in str(error)
    device.close()
    os._exit(refused)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
device.predict_one(x)
sleeper = os.fork()
if not sleeper:
    import time
    time.sleep(60)
device.close()
Device.open({str(bundle)!r}, {str(state)!r}).close()  # though a fork of this process still lives
os.kill(sleeper, 9)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert sum(one.predictions for one in ReportQueue(Store(FileFlash(state))).reports()) == 2
