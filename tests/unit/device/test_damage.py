"""Every file of a device's state, damaged in every way: it predicts, stays who it is, reports, and tells."""

import dataclasses
import functools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate_device import Device
from acclimate_device.agent import Agent
from acclimate_device.bundle import Bundle, read_bundle
from acclimate_device.protocol import Enrolled
from acclimate_device.runtime import Engine, load_engine
from acclimate_device.storage import Slots, Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService
from tests.support.gateway import Gateway, release_of
from tests.unit.device.test_queue import report

EXAMPLE = GestureDevice(1).example()[0]
WAITING = 22


@dataclasses.dataclass
class Lived:
    """A device that has been running for a while, switched off."""

    flash: SimulatedFlash
    service: SimulatedService
    repository: SimulatedRepository
    metadata: Path
    key_id: str
    enrolled: Enrolled
    now: float


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder = tmp_path_factory.mktemp("lived")
    gateway = Gateway(folder)
    for number in (2, 3):  # the newer one is good in b, the older one still lies in a
        gateway.ship(number)
        gateway.agent.poll()
        gateway.use()
        gateway.use()
    for x, y in GestureDevice(1).examples(30):
        gateway.device.learn_one(x, y)
    gateway.device.close()
    gateway.agent.send_reports()
    queue = ReportQueue(Store(gateway.flash), batch=8)  # eight sealed, eight packed, the rest as they came
    for number in range(WAITING):
        queue.add(report(number))
    return Lived(
        gateway.flash,
        gateway.service,
        gateway.repository,
        folder / "tuf",
        gateway.agent.identity.key().public.key_id,
        gateway.agent.identity.enrolled(),
        gateway.now,
    )


def damages(data: bytes, other: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Ways in which a file of these bytes may be found after wear; None: it is gone."""
    rng = random.Random(len(data))
    for _ in range(6):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield "flip", bytes(flipped)
    yield "first", bytes([data[0] ^ 0x80]) + data[1:]
    yield "last", data[:-1] + bytes([data[-1] ^ 1])
    for kept in (0, 1, len(data) // 2, len(data) - 1):
        yield f"truncate to {kept}", data[:kept]
    yield "zeros", bytes(len(data))
    yield "a block of zeros", data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * (len(data) // 3) :]
    yield "twice", data + data
    yield "longer", data + b"\0"
    yield "another file's contents", other
    yield "gone", None


@functools.cache
def first_engine() -> Engine:
    return load_engine(read_bundle(tiny_bundle().get))


def load(bundle: Bundle, like: Engine | None) -> Engine:
    """The same graphs for every version: their sessions are made once."""
    return load_engine(bundle, like or first_engine())


def cases(lived: Lived) -> list[tuple[str, str, bytes | None]]:
    names = lived.flash.names("")
    return [
        (name, how, data)
        for at, name in enumerate(names)
        for how, data in damages(lived.flash.read(name), lived.flash.read(names[at - 1]))
        if data != lived.flash.read(name)
    ]


def survive(lived: Lived, name: str, data: bytes | None) -> None:
    flash = lived.flash.after_power_cut()
    if data is None:
        flash.delete(name)
    else:
        flash.write(name, data)
    service = SimulatedService(lived.repository, clock=lambda: lived.now)
    service.__dict__.update({**lived.service.__dict__, "reports": {}})
    device = Device(tiny_bundle().get, flash, clock=lambda: lived.now, load=load)
    assert device.predict_one(EXAMPLE) in ("circle", "shake", "tap")
    device.tick()
    agent = Agent(service, flash, lived.repository.root, lived.metadata, clock=lambda: lived.now)
    assert (agent.identity.key().public.key_id, agent.identity.enrolled()) == (lived.key_id, lived.enrolled)
    agent.round()
    device.tick()
    assert device.release == release_of(3), "what was damaged was fetched again"
    device.learn_one(EXAMPLE, "tap")
    device.close()
    agent.round()
    got = service.reports
    assert sum(one.windows for one in got.values()) >= WAITING
    told = {event.kind for one in got.values() for event in one.events}
    unused = name.startswith("a/") or name.endswith(".lock")
    assert unused or told & {"repaired", "set_aside", "factory"}, told


def test_one_of_fifteen_corruptions_of_single_files(lived: Lived) -> None:
    for name, _, data in cases(lived)[::15]:
        survive(lived, name, data)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_every_corruption_of_every_single_file(lived: Lived) -> None:
    everything = cases(lived)
    for name, how, data in everything:
        try:
            survive(lived, name, data)
        except BaseException as error:
            raise AssertionError(f"{name}, {how}") from error
    print(f"device state: {len(everything)} corruptions survived")
    assert len(everything) >= 500


def test_damaged_metadata_of_the_repository_is_fetched_again(lived: Lived, tmp_path: Path) -> None:
    files = [path for path in sorted(lived.metadata.rglob("*")) if path.is_file()]
    assert len(files) >= 4
    for number, path in enumerate(files):
        for how, data in list(damages(path.read_bytes(), files[number - 1].read_bytes()))[number % 3 :: 3]:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            shutil.copytree(lived.metadata, folder, symlinks=True)
            damaged = folder / path.relative_to(lived.metadata)
            damaged.unlink()
            if data is not None:
                damaged.write_bytes(data)
            flash = lived.flash.after_power_cut()
            flash.flip("b/params.safetensors", 999)
            Device(tiny_bundle().get, flash, load=load)
            service = SimulatedService(lived.repository, clock=lambda: lived.now)
            service.__dict__.update({**lived.service.__dict__, "reports": {}})
            agent = Agent(service, flash, lived.repository.root, folder, clock=lambda: lived.now)
            assert agent.poll(), f"{path.name}, {how}"
            assert Slots(Store(flash)).assignment().mended == 1


def test_what_is_damaged_in_both_copies_is_set_aside_and_stops_nothing(lived: Lived) -> None:
    flash = lived.flash.after_power_cut()
    for name in flash.names("outbox/")[-4:-2]:
        flash.flip(name, 99)
    queue = ReportQueue(Store(flash))
    assert len(queue.reports()) == WAITING - 1
    sent = 0
    while batch := queue.next_batch():
        sent += len(batch.reports)
        queue.acknowledge(batch, {one.id for one in batch.reports})
    assert sent == WAITING - 1
    assert len(flash.names("aside/")) == 2


def test_a_foreign_file_in_the_queue_is_set_aside(lived: Lived) -> None:
    flash = lived.flash.after_power_cut()
    foreign = ["outbox/.DS_Store", "outbox/1-2.0", "outbox/x.1", "outbox/0000000003-0000000001.0"]
    for name in foreign:
        flash.write(name, b"")
    store = Store(flash)
    assert len(ReportQueue(store).reports()) == WAITING
    told = {one.name for one in store.take_mishaps()}
    assert told == set(foreign)


def test_what_is_set_aside_stays_small() -> None:
    flash = SimulatedFlash()
    store = Store(flash)
    for number in range(40):
        flash.write(f"outbox/foreign {number}", bytes(1000 if number % 2 else 10**6))
        store.names("outbox/")
    assert len(flash.names("aside/")) <= 16
    assert sum(flash.size(name) or 0 for name in flash.names("aside/")) <= 16 * 64 * 1024
    assert flash.names("outbox/") == []
