"""Requests over MQTT 5, for fleets on cellular links: one connection, and no polls while nothing changes."""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from acclimate_device.agent.certificate import present
from acclimate_device.agent.identity import DeviceKey
from acclimate_device.agent.transport import Response, of_the_clock, trusting
from acclimate_device.errors import TransportError
from acclimate_device.protocol import LIMITS, STATE_PATH
from acclimate_device.protocol.mqtt import OFFLINE, ONLINE, carried, headers_of, name_of, packet_bytes, topic

logger = logging.getLogger(__name__)

_KEEPALIVE_S = 240
_SPREAD_S, _TURN_S, _LONGEST_S = 10, 60, 300
"""Seconds before a connection is tried again: at first, after another took its place, and at most."""
_TAKEN_OVER = "Session taken over"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttTransport:
    """A `Transport` through a broker and `acclimate bridge`.

    The desired state comes retained: a poll that finds it unchanged sends nothing. Twice in the time that a
    signed request holds, a poll is sent, with which the bridge may go on asking in the device's name.

    Args:
        url: `mqtts://host[:port]`, or `mqtt://` on this machine.
        key: of the device; over TLS its certificate is shown to the broker.
        ca_file: certificate authorities of the broker; None means the system's.
        timeout_s: of connecting and of each answer.
    """

    overheard = True

    def __init__(
        self, url: str, key: DeviceKey, ca_file: Path | None = None, timeout_s: float = 30.0
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._name, self._timeout_s = name_of(key.public.key_id), timeout_s
        self._ready = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._name, protocol=mqtt.MQTTv5, reconnect_on_failure=True
        )
        self._client.suppress_exceptions = True  # else one odd message would end its thread, and all answers
        self._client.enable_logger(logger)  # which alone tells of them
        if parts.scheme == "mqtts":
            tls = trusting(ca_file)
            present(tls, key)
            self._client.tls_set_context(tls)
        self._client.will_set(topic(self._name, "presence"), OFFLINE, qos=1, retain=True)
        self._client.on_connect, self._client.on_message = self._connected, self._came
        self._client.on_disconnect = self._disconnected
        # a fleet does not come back to a broker in one second
        self._client.reconnect_delay_set(random.randint(1, _SPREAD_S), _LONGEST_S)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._asking, self._started = threading.Lock(), False
        self._waiting: tuple[bytes, Future[Response]] = b"", Future()  # for the answer to this request
        self._state: Response | None = None
        self._given: Response | None = None
        self._shown_at = -math.inf
        self._most_bytes, self._trouble = math.inf, ""

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        with self._asking:
            self._connect()
            poll = method == "GET" and path == STATE_PATH
            state = self._state
            if poll and state is not None and time.monotonic() < self._shown_at + LIMITS.token_s / 2:
                if headers.get("If-None-Match") == state.headers.get("etag"):
                    return Response(304, state.headers)
                if state is not self._given:
                    self._given = state
                    return state
            answer = self._ask(method, path, headers, body)
            if poll and answer.status in (200, 304):
                self._shown_at = time.monotonic()
                if self._state is not None and self._state is self._given:  # what was retained was refused
                    told = (
                        answer.headers if answer.status == 200 else {"etag": headers.get("If-None-Match", "")}
                    )
                    self._state = Response(200, told, answer.body)
        if len(answer.body) > max_bytes:
            raise TransportError(
                f"{method} {path}: the answer is longer than {max_bytes} bytes", answer.status
            )
        return answer

    def close(self) -> None:
        """Say that the device is offline, and disconnect."""
        if self._started:
            self._client.publish(topic(self._name, "presence"), OFFLINE, qos=1, retain=True)
            self._client.disconnect()
            self._client.loop_stop()
            self._started = False

    def _connect(self) -> None:
        try:
            if not self._started:
                self._client.connect(self._host, self._port, _KEEPALIVE_S, clean_start=True)
                self._client.loop_start()
                self._started = True
        except (OSError, ValueError) as error:
            told = f"{error}{of_the_clock(error)}"
            raise TransportError(f"broker {self._host}:{self._port}: {told}") from None
        if not self._ready.wait(self._timeout_s):
            raise TransportError(
                f"broker {self._host}:{self._port} does not let {self._name} in: "
                + (self._trouble or "does it know the device's certificate (acclimate-device certificate)?")
            )

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        correlation, waiting = self._waiting = secrets.token_bytes(6), Future()
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.CorrelationData = correlation
        told = [("method", method), ("path", path), *carried(headers)]
        properties.UserProperty = told
        size = packet_bytes(topic(self._name, "request"), body or b"", told)
        if size > self._most_bytes:
            raise TransportError(
                f"{method} {path}: {size} bytes, the broker takes {self._most_bytes:.0f}: raise its limit",
                413,
            )
        sent = self._client.publish(topic(self._name, "request"), body or b"", qos=1, properties=properties)
        if sent.rc != mqtt.MQTT_ERR_SUCCESS:
            raise TransportError(f"{method} {path}: {mqtt.error_string(sent.rc)}")
        try:
            return waiting.result(self._timeout_s)
        except TimeoutError:
            raise TransportError(
                f"{method} {path}: no answer in {self._timeout_s:g} s: is acclimate bridge running?"
            ) from None

    def _connected(self, client: mqtt.Client, *rest: Any) -> None:
        code, told = rest[2], rest[3]
        if code.is_failure:
            self._trouble = f"{code}: does it know the device's certificate (acclimate-device certificate)?"
            return
        self._trouble, self._most_bytes = "", getattr(told, "MaximumPacketSize", math.inf)
        client.publish(topic(self._name, "presence"), ONLINE, qos=1, retain=True)
        client.subscribe([(topic(self._name, kind), 1) for kind in ("answer", "state")])

    def _disconnected(self, client: mqtt.Client, *rest: Any) -> None:
        self._ready.clear()
        flags, code = rest[1], rest[2]
        if not flags.is_disconnect_packet_from_server:
            return  # it broke, or a refusal said why before
        self._trouble = f"it ended the connection: {code}"
        if code == _TAKEN_OVER:
            self._trouble = "another machine connects with this device's key: was its card copied?"
            client.reconnect_delay_set(_TURN_S, _LONGEST_S)  # two that throw each other out do so rarely

    def _came(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        found = message.properties
        told: list[tuple[str, str]] = list(getattr(found, "UserProperty", []))
        if message.topic == topic(self._name, "state"):
            self._state = Response(200, headers_of(told), bytes(message.payload)) if message.payload else None
            return
        correlation, waiting = self._waiting
        if getattr(found, "CorrelationData", b"") == correlation and not waiting.done():
            status = dict(told).get("status", "")
            code = int(status) if status.isdecimal() else 0
            waiting.set_result(Response(code, headers_of(told), bytes(message.payload)))
