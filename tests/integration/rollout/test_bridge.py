"""Devices on MQTT: a real broker, the real bridge, the real service."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from acclimate.rollout import bridge as bridges
from acclimate_device.agent import Agent
from acclimate_device.agent.certificate import certificate
from acclimate_device.agent.identity import Identity
from acclimate_device.agent.mqtt import MqttTransport
from acclimate_device.errors import TransportError
from acclimate_device.protocol import ENROLMENT_PATH, LIMITS, REPORT_PATH, STATE_PATH, Contribution
from acclimate_device.protocol.mqtt import name_of, topic
from acclimate_device.storage import Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import SimulatedFlash
from tests.support.answering import Asked, answering
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.serving import Served
from tests.unit.device.test_queue import report

pytestmark = pytest.mark.slow


class Broker:
    """A mosquitto of our own. Over TLS it lets in only whose certificate it knows, each to its own topics."""

    def __init__(self, folder: Path, secure: dict[str, bytes] | None = None, *more: str) -> None:
        self.port, self.folder = free_port(), folder
        lines = [f"listener {self.port} 127.0.0.1", "max_inflight_messages 20", *more]
        if os.geteuid() == 0:
            lines.append("user root")  # else it may not read what only root may
        if secure is None:
            lines.append("allow_anonymous true")
        else:
            (folder / "known.pem").write_bytes(b"".join(secure.values()))
            (folder / "acl").write_text(
                "user bridge\ntopic readwrite #\npattern readwrite acclimate/v1/%u/#\n"
            )
            authority = Authority()
            authority.write(folder / "ca.pem")
            authority.server(folder)
            lines += [
                f"cafile {folder}/known.pem",
                f"certfile {folder}/server.pem",
                f"keyfile {folder}/server.pem",
                "require_certificate true",
                "use_identity_as_username true",
                f"acl_file {folder}/acl",
            ]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, ""]))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            shutil.which("mosquitto") or "/usr/sbin/mosquitto",
            "-c",
            str(self.folder / "mosquitto.conf"),
        ]
        with open(self.folder / "mosquitto.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self.listens)

    def listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)


def until(holds: Callable[[], object], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise AssertionError("it never came to hold")
        time.sleep(0.05)


class Bridge:
    """An `acclimate bridge` process."""

    def __init__(self, service: str, broker: str, *options: str) -> None:
        self.command = [sys.executable, "-m", "acclimate", "bridge", "--service", service, "--broker", broker]
        self.command += ["--name", "bridge", "--poll", "0.3", *options]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def enrolment(served: Served) -> str:
    return served.call("POST", "/fleets/plant/enrolment-tokens", {"quota": 5})["token"]


class Gateway:
    """A device on the broker, with no way to the service but through it."""

    def __init__(self, url: str, folder: Path, ca_file: Path | None = None) -> None:
        self.flash = SimulatedFlash()
        self.key = Identity(Store(self.flash)).key()
        self.transport = MqttTransport(url, self.key, ca_file, timeout_s=10.0)
        self.agent = Agent(self.transport, self.flash, b"", folder / "tuf")
        self.queue = ReportQueue(Store(self.flash))


def reports_of(served: Served) -> int:
    return sum(one["reports"] for one in served.call("GET", "/fleets/plant/counts"))


def test_a_device_lives_over_the_broker_alone(service: Served, tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    url = f"mqtt://127.0.0.1:{broker.port}"
    bridge = Bridge(service.url, url)
    gateway = Gateway(url, tmp_path)
    watcher, presence = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5), []
    bridged: list[bytes] = []
    watcher.on_message = lambda *rest: (bridged if "bridge" in rest[2].topic else presence).append(
        rest[2].payload
    )
    overheard: list[mqtt.MQTTMessage] = []
    watcher.message_callback_add("acclimate/v1/+/request", lambda *rest: overheard.append(rest[2]))
    watcher.connect("127.0.0.1", broker.port)
    watcher.subscribe("acclimate/v1/+/request", 1)
    watcher.subscribe(topic(name_of(gateway.key.public.key_id), "presence"), 1)
    watcher.subscribe(topic("bridge", "presence"), 1)
    watcher.loop_start()
    try:
        until(lambda: bridged[-1:] == [b"online"])
        enrolled = gateway.agent.service.enrol(enrolment(service), "serial 7", {"site": "A"}, "")
        assert gateway.agent.poll()
        until(lambda: gateway.transport._state is not None)
        asked = int(bridge_forwarded(service))
        for _ in range(20):
            assert not gateway.agent.poll(), "nothing changed"
        assert int(bridge_forwarded(service)) == asked, "a poll that changes nothing sends nothing"
        first = gateway.transport._state
        service.call("PATCH", "/fleets/plant", {"poll_interval_s": 77})
        until(lambda: gateway.transport._state is not first)
        before = reports_of(service)
        for number in range(70):
            gateway.queue.add(report(number))
        assert gateway.agent.send_reports() == 70
        assert reports_of(service) == before + 70
        # what campaigns ask and get passes too, and the longest contribution there is
        assert gateway.agent.service.round() is None
        assert gateway.agent.service.turn() is None
        longest = Contribution.of("campaign-0", bytes(4 * LIMITS.contribution_numbers))
        with pytest.raises(TransportError, match="409 no campaign campaign-0 asked for this"):
            gateway.agent.service.contribute(longest)
        # the bridge dies; reports wait, and go once it is back
        bridge.process.kill()
        bridge.process.wait(10)
        gateway.queue.add(report(100))
        gateway.transport._timeout_s = 1.0
        with pytest.raises(TransportError, match="is acclimate bridge running"):
            gateway.agent.send_reports()
        assert len(gateway.queue.reports()) == 1
        until(lambda: bridged[-1] == b"offline")
        bridge.start()
        until(lambda: bridged[-1] == b"online")
        gateway.transport._timeout_s = 20.0
        until(lambda: sent(gateway) == 1 or not gateway.queue.reports())
        until(lambda: reports_of(service) == before + 71)
        time.sleep(0.5)
        assert reports_of(service) == before + 71, "each counts once, however often the broker delivers it"
        # the service dies: nothing is acknowledged
        service.kill()
        gateway.queue.add(report(101))
        with pytest.raises(TransportError, match="503"):
            gateway.agent.send_reports()
        service.start()
        until(lambda: sent(gateway) == 1)
        assert enrolled.device_id == name_of(gateway.key.public.key_id)
        told = [dict(one.properties.UserProperty) for one in overheard]
        assert {one["path"] for one in told} >= {ENROLMENT_PATH, STATE_PATH, REPORT_PATH}
        assert not [one for one in told if "bearer" in one.get("authorization", "").lower()]
        assert presence[0] == b"online"
        gateway.transport._client.socket().shutdown(socket.SHUT_RDWR)
        gateway.transport._client.loop_stop()
        until(lambda: presence[-1] == b"offline" or b"offline" in presence)
    finally:
        watcher.loop_stop()
        gateway.transport.close()
        bridge.stop()
        broker.stop()


def sent(gateway: Gateway) -> int:
    try:
        return gateway.agent.send_reports()
    except TransportError as error:
        logging.info("%s", error)
        return 0


def bridge_forwarded(served: Served) -> float:
    """Requests the service has seen of devices: polls by what came of them."""
    text = httpx.get(f"{served.url}/metrics", timeout=20).text
    lines = [
        line for line in text.splitlines() if line.startswith("acclimate_polls_total") and "changed" in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines if "unchanged" not in line)


def test_over_tls_the_broker_knows_a_device_by_its_key_and_lets_it_to_its_own_topics_only(
    service: Served, tmp_path: Path
) -> None:
    flash = SimulatedFlash()
    key, stranger = Identity(Store(flash)).key(), Identity(Store(SimulatedFlash())).key()
    bridge_key = Identity(Store(SimulatedFlash())).key()
    broker = Broker(tmp_path, {"device": certificate(key), "other": certificate(bridge_key)})
    try:
        url, authority = f"mqtts://127.0.0.1:{broker.port}", tmp_path / "ca.pem"
        known = MqttTransport(url, key, authority, timeout_s=2.0)
        with pytest.raises(TransportError, match="is acclimate bridge running"):
            known.request("GET", "/device/v1/state", {}, None, 100)  # it is let in; nobody answers
        heard: list[str] = []
        spy = MqttTransport(url, bridge_key, authority, timeout_s=2.0)
        spy._client.message_callback_add("#", lambda *rest: heard.append(rest[2].topic))
        with pytest.raises(TransportError):
            spy.request("GET", "/device/v1/state", {}, None, 100)
        spy._client.subscribe("acclimate/v1/#", 1)
        time.sleep(0.3)
        with pytest.raises(TransportError):
            known.request("GET", "/device/v1/state", {}, None, 100)
        assert not [one for one in heard if name_of(key.public.key_id) in one]
        with pytest.raises(TransportError):
            MqttTransport(url, stranger, authority, timeout_s=2.0).request("GET", "/", {}, None, 100)
        known.close()
        spy.close()
    finally:
        broker.stop()


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[tuple[Broker, MqttTransport, MqttTransport]]:
    """A broker that takes 20 kB at most, a bridge to a stub of a service, and two devices."""

    def answer(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        if handler.path == STATE_PATH:
            known = handler.headers.get("If-None-Match") == "1"
            return (304 if known else 200), {"ETag": "1"}, b"" if known else b"the state"
        return 200, {}, b"x" * int(handler.path.rpartition("/")[2])

    broker, stop = Broker(tmp_path, None, "max_packet_size 20000"), threading.Event()
    with answering(answer) as port:
        bridge = bridges.Bridge(f"http://127.0.0.1:{port}", ("127.0.0.1", broker.port), "bridge", poll_s=0.2)
        running = threading.Thread(target=bridge.run, args=(stop,))
        running.start()
        url = f"mqtt://127.0.0.1:{broker.port}"
        devices = [MqttTransport(url, Identity(Store(SimulatedFlash())).key(), timeout_s=10.0) for _ in "ab"]
        until(lambda: bridge.client.is_connected())
        yield broker, devices[0], devices[1]
        stop.set()
        running.join(10.0)
        for device in devices:
            device.close()
    broker.stop()


def test_what_the_broker_finds_too_long_is_refused_to_one_and_stops_nobody(joined) -> None:
    broker, device, other = joined
    for _ in range(2):
        told = device.request("GET", "/device/v1/answer/100000", {}, None, 10**6)
        assert (told.status, told.body) == (413, b"longer than the broker's packets: raise its limit")
        with pytest.raises(TransportError, match="the broker takes 20000") as refused:
            device.request("POST", "/device/v1/answer/10", {}, bytes(50_000), 10**6)
        assert (refused.value.status, refused.value.problem) == (413, "")
        for one in (device, other):
            assert one.request("GET", "/device/v1/answer/9000", {}, None, 10**6).body == b"x" * 9000
    assert "oversize" not in (broker.folder / "mosquitto.log").read_text()


def test_a_retained_state_that_is_refused_is_asked_for_anew(joined) -> None:
    broker, device, _ = joined
    polled = device.request("GET", STATE_PATH, {}, None, 10**6)
    assert polled.body == b"the state"
    until(lambda: device._state is not None)
    writer = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    writer.connect("127.0.0.1", broker.port)
    writer.loop_start()
    writer.publish(
        topic(device._name, "state"), b"of a restored backup", qos=1, retain=True
    ).wait_for_publish(10)
    writer.loop_stop()
    until(lambda: device._state.body == b"of a restored backup")
    told = [device.request("GET", STATE_PATH, {"If-None-Match": "1"}, None, 10**6).status for _ in range(4)]
    assert told == [200, 304, 304, 304], "once as it came, then as the service says"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"\x20\x03\x00\x00\x00\xe0\x02\x8e\x00", "another machine connects with this device's key"),
        (b"\x20\x03\x00\x00\x00\xe0\x02\x8b\x00", "Server shutting down"),
        (b"\x20\x03\x00\x87\x00", "Not authorized: does it know the device's certificate"),
        (b"\x20\x03\x00\x8a\x00", "Banned"),
    ],
)
def test_a_broker_that_ends_a_connection_is_quoted(said: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    for packet in (said[:5], said[5:]):
                        connection.recv(1000)
                        connection.sendall(packet)
                    while connection.recv(1000):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        device = MqttTransport(url, Identity(Store(SimulatedFlash())).key(), timeout_s=1.0)
        with pytest.raises(TransportError, match=why):
            device.request("GET", STATE_PATH, {}, None, 100)
        device.close()
