"""Bytes a device costs in a day when nothing changes: over HTTP and over MQTT, by the sockets' own count.

A real service, a real mosquitto and `acclimate bridge` on this machine; polls every 5 minutes, a report every
15, a bearer token every hour, or over MQTT a signed poll every half: as many of each as a day holds, at once.
TLS is not counted: it adds about 30 bytes a record, and some kilobytes for each new connection.
"""

from __future__ import annotations

import math
import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path

from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.agent.identity import Identity
from acclimate_device.agent.mqtt import MqttTransport
from acclimate_device.agent.transport import Transport
from acclimate_device.storage import Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import SimulatedFlash
from tests.integration.rollout.test_bridge import Bridge, Broker, enrolment
from tests.support.serving import Served
from tests.unit.device.test_queue import report

POLLS, REPORTS, TOKENS = 288, 96, 24
PINGS = 360
"""Of MQTT, one each four minutes, two bytes there and two back."""


class Counter:
    """A relay that counts what passes."""

    def __init__(self, port: int) -> None:
        self.bytes, self._to = 0, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._to))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._relay, args=(one, other), daemon=True).start()

    def _relay(self, one: socket.socket, other: socket.socket) -> None:
        while piece := one.recv(65536):
            self.bytes += len(piece)
            other.sendall(piece)


def day(transport: Transport, flash: SimulatedFlash, served: Served) -> None:
    agent = Agent(transport, flash, b"", Path("unused"), new_id=lambda: secrets.token_hex(16))
    agent.service.enrol(enrolment(served), "serial 7", {}, "")
    queue = ReportQueue(Store(flash))
    for number in range(POLLS):
        if number % (POLLS // TOKENS) == 0:
            agent.service._token = ""
        if number % (POLLS // TOKENS // 2) == 0 and isinstance(transport, MqttTransport):
            transport._shown_at = -math.inf
        agent.poll()
        if number % (POLLS // REPORTS) == 0:
            queue.add(report(number))
            agent.send_reports()


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    served = Served(folder / "service")
    served.start()
    served.call("POST", "/fleets", {"name": "plant"})
    broker = Broker(folder)
    bridge = Bridge(served.url, f"mqtt://127.0.0.1:{broker.port}")
    time.sleep(15)
    try:
        counter = Counter(served.port)
        day(HttpTransport(f"http://127.0.0.1:{counter.port}"), SimulatedFlash(), served)
        print(f"HTTP {counter.bytes / 1000:.0f} kB a device and day")
        counter, flash = Counter(broker.port), SimulatedFlash()
        over = MqttTransport(f"mqtt://127.0.0.1:{counter.port}", Identity(Store(flash)).key())
        day(over, flash, served)
        print(f"MQTT {(counter.bytes + 4 * PINGS) / 1000:.0f} kB a device and day")
        over.close()
    finally:
        bridge.stop()
        broker.stop()
        served.stop()


if __name__ == "__main__":
    main()
