"""The agent over real HTTP: the simulated service behind a socket."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from acclimate_device import Device
from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.errors import TransportError
from acclimate_device.storage import FileFlash
from acclimate_device.testing import GestureDevice, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService
from tests.unit.device.test_agent import release_of, version


@pytest.fixture
def served():
    service = SimulatedService(SimulatedRepository())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = service.request(self.command, self.path, dict(self.headers), body, 10**9)
            self.send_response(found.status)
            for name, value in found.headers.items():
                if name != "date":
                    self.send_header(name, value)
            if found.status != 304:
                self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            if found.status != 304:
                self.wfile.write(found.body)

        do_GET = do_POST = answer  # noqa: N815 - the names the standard library calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield service, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


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


def test_an_answer_that_is_too_long_is_refused(served) -> None:
    service, url = served
    service.repository.files["metadata/big"] = bytes(5000)
    service._bearers["t"] = 1e12
    transport = HttpTransport(url)
    with pytest.raises(TransportError, match="longer than 100 bytes"):
        transport.request(
            "GET", "/device/v1/repository/metadata/big", {"Authorization": "Bearer t"}, None, 100
        )
