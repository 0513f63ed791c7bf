"""The agent over real HTTP: the simulated service behind a socket."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate_device import Device
from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.errors import TransportError
from acclimate_device.storage import FileFlash
from acclimate_device.testing import GestureDevice, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService
from tests.support.answering import Asked, answering
from tests.support.gateway import release_of, version


@pytest.fixture
def served() -> Iterator[tuple[SimulatedService, str]]:
    service = SimulatedService(SimulatedRepository())

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        found = service.request(asked.command, asked.path, dict(asked.headers), asked.body, 10**9)
        return found.status, {name: one for name, one in found.headers.items() if name != "date"}, found.body

    with answering(answer) as port:
        yield service, f"http://127.0.0.1:{port}"


def test_a_release_and_its_reports_travel_over_http(served, tmp_path: Path) -> None:
    service, url = served
    flash = FileFlash(tmp_path / "state")
    agent = Agent(HttpTransport(url), flash, service.repository.root, tmp_path / "tuf")
    agent.service.enrol(service.token, "", {}, "")
    service.repository.publish(version(2))
    service.assign("run", release_of(2))
    assert agent.poll()
    assert not agent.poll()
    with Device(tiny_bundle().get, flash) as device:
        device.tick()
        device.predict_one(GestureDevice(1).example()[0])
        assert device.release == release_of(2)
    assert agent.send_reports() == 2
    assert len(service.reports) == 2


def test_a_server_that_is_not_there_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        HttpTransport("http://127.0.0.1:9", timeout_s=2).request("GET", "/x", {}, None, 100)


PACKED = gzip.compress(b"a" * 90)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, PACKED, ""),
        (503, PACKED, ""),
        (200, gzip.compress(b"a" * 101), "longer than 100 bytes"),
        (200, gzip.compress(b"a" * 10**7)[:90], "longer than 100 bytes"),
        (200, PACKED[:-9], "gzip ends early"),
        (200, b"plain", "gzip is damaged"),
        (204, b"", ""),
    ],
)
def test_hints_before_an_answer_and_unasked_gzip_are_taken(status: int, body: bytes, why: str) -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
        asked.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n" + hint)
        return status, {"Content-Encoding": "gzip"}, body

    with answering(answer) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        for _ in range(2):  # the connection is as good as before
            if why:
                with pytest.raises(TransportError, match=why):
                    transport.request("GET", "/x", {}, None, 100)
            else:
                found = transport.request("GET", "/x", {}, None, 100)
                assert (found.status, found.body) == (status, b"a" * 90 if body else b"")
                assert "content-encoding" not in found.headers
        transport.close()


def test_an_answer_that_is_too_long_is_refused(served) -> None:
    service, url = served
    service.repository.files["metadata/big"] = bytes(5000)
    service._bearers["t"] = 1e12
    transport = HttpTransport(url)
    with pytest.raises(TransportError, match="longer than 100 bytes"):
        transport.request(
            "GET", "/device/v1/repository/metadata/big", {"Authorization": "Bearer t"}, None, 100
        )
