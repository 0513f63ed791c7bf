"""A network that goes away in the middle of a download, again and again, over real connections."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acclimate.simulation import ServedWorld, ServiceProcess, next_version, sign_repository
from acclimate.simulation.world import Files, release_of
from acclimate_device import Device
from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.bundle import read_bundle
from acclimate_device.protocol import MANIFEST, PARAMS, File, dumps
from acclimate_device.runtime.tensors import parse, serialize
from acclimate_device.storage import FileFlash
from acclimate_device.testing import tiny_bundle

pytestmark = pytest.mark.slow
BALLAST_BYTES = 3_000_000
PASSES_BYTES = 400_000
"""What a connection lets through before it breaks; every second connection breaks at once."""


class Flapping:
    """A TCP proxy in front of a port."""

    def __init__(self, port: int) -> None:
        self._port, self._listening = port, socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.connections = self.passed_bytes = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                if self.connections % 2:
                    self._pass(client)
                else:
                    client.close()

    def _pass(self, client: socket.socket) -> None:
        """One connection at a time, as the device has them."""
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, suppress(OSError):
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            left = PASSES_BYTES
            while left and (data := server.recv(min(left, 65_536))):
                client.sendall(data)
                left -= len(data)
                self.passed_bytes += len(data)
            for end in (client, server):  # closing alone waits for the other thread's read
                end.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def heavy() -> Files:
    """A second version that takes several connections to fetch."""
    files = dict(next_version(tiny_bundle(), 2))
    ballast = np.random.default_rng(0).standard_normal(BALLAST_BYTES // 4).astype(np.float32)
    files[PARAMS] = serialize({**parse(files[PARAMS]), "ballast": ballast})
    manifest = read_bundle({**files, PARAMS: next_version(tiny_bundle(), 2)[PARAMS]}.get).manifest
    listed = File(len(files[PARAMS]), hashlib.sha256(files[PARAMS]).hexdigest())
    files[MANIFEST] = dumps(replace(manifest, files={**manifest.files, PARAMS: listed}))
    return files


@pytest.fixture
def service(tmp_path: Path, heavy: Files) -> Iterator[ServiceProcess]:
    sign_repository([tiny_bundle(), heavy], tmp_path / "service" / "tuf")
    with ServiceProcess(tmp_path / "service", TICK_S="0.2") as service:
        yield service


def test_a_download_over_a_flapping_network_ends_and_no_byte_travels_twice(
    service: ServiceProcess, heavy: Files, tmp_path: Path
):
    factory, flash = tiny_bundle(), FileFlash(tmp_path / "device")
    root = (tmp_path / "service" / "tuf" / "metadata" / "1.root.json").read_bytes()
    operator = ServedWorld(service.url, service.token, root).operator
    operator.add_fleet("one", 60.0)
    operator.set_baseline("one", release_of(heavy))
    token = operator.enrolment_token("one", 1)
    near = Agent(HttpTransport(service.url), flash, root, tmp_path / "metadata")
    near.service.enrol(token, "one", {}, "")

    proxy = Flapping(service.port)
    far = Agent(HttpTransport(f"http://127.0.0.1:{proxy.port}"), flash, root, tmp_path / "metadata")
    with Device.open(_written(factory, tmp_path / "bundle"), tmp_path / "device") as device:
        rounds = 0
        while device.release != release_of(heavy):
            assert rounds < 60, f"not there after {proxy.connections} connections"
            far.round()
            device.tick()
            rounds += 1
    proxy.close()
    assert proxy.connections >= BALLAST_BYTES // PASSES_BYTES, "the network never broke"
    assert proxy.passed_bytes < 1.1 * BALLAST_BYTES
    assert not flash.names("download/")


def _written(files: Files, folder: Path) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
