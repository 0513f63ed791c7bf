"""Joins an MQTT broker to the service: devices ask and report in the words of HTTP.

A device's request is forwarded as it is, signed by the device; the bridge and the broker have no rights of
their own and can forge nothing, for assignments are signed too. The broker has its message acknowledged only
after the service answered, which for reports means after the commit. With the poll that a device signed, the
bridge goes on asking for its desired state, and retains it on the device's topic when it changes: devices
need not poll.
"""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from acclimate_device.agent.transport import HttpTransport, Response
from acclimate_device.errors import TransportError
from acclimate_device.protocol import LIMITS, STATE_PATH
from acclimate_device.protocol.mqtt import (
    OFFLINE,
    ONLINE,
    carried,
    device_of,
    headers_of,
    packet_bytes,
    topic,
)

log = logging.getLogger(__name__)

_METHODS = ("GET", "POST")
_PREFIX = "/device/v1/"
_MOST_BYTES = 8 * 1024 * 1024
_SESSION_S = 24 * 3600


class Bridge:
    """One bridge; several may share a broker, each request is given to one of them.

    Args:
        service: URL of the rollout service.
        broker: host and port.
        name: client id: what the broker keeps for a bridge that restarts goes to the one of the same name.
        ca_file: certificate authorities of the service.
        poll_s: how often desired states are asked for.
        workers: requests forwarded at once.
    """

    def __init__(
        self,
        service: str,
        broker: tuple[str, int],
        name: str,
        ca_file: Path | None = None,
        poll_s: float = 15.0,
        workers: int = 8,
    ) -> None:
        self._service, self._broker, self._ca_file, self._poll_s = service, broker, ca_file, poll_s
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5, manual_ack=True
        )
        self.client.suppress_exceptions = True  # else one device's odd message would end the thread of all
        self.client.enable_logger(log)  # which alone tells of them
        self._presence = topic(name, "presence")
        self.client.will_set(self._presence, OFFLINE, qos=1, retain=True)
        self.client.on_connect, self.client.on_message = self._connected, self._came
        self._pool = ThreadPoolExecutor(workers, "bridge")
        self._local = threading.local()
        self._known: dict[str, tuple[str, str]] = {}  # by device: its Authorization, the ETag it was told
        self._most_bytes = math.inf  # of a packet, as the broker says
        self.online: set[str] = set()
        self.forwarded = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set.

        Raises:
            OSError: the broker cannot be reached at the start; later it is tried again.
        """
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = _SESSION_S
        self.client.connect(*self._broker, keepalive=30, clean_start=False, properties=session)
        self.client.loop_start()
        try:
            while not stop.wait(self._poll_s):
                list(self._pool.map(self._push, list(self._known)))
        finally:
            self._pool.shutdown()
            self.client.publish(self._presence, OFFLINE, qos=1, retain=True)
            self.client.disconnect()
            self.client.loop_stop()

    def _connected(self, client: mqtt.Client, *rest: Any) -> None:
        code = rest[2]
        if code.is_failure:
            log.error("broker-refused", extra={"reason": str(code)})
            return
        self._most_bytes = getattr(rest[3], "MaximumPacketSize", math.inf)
        client.subscribe(f"$share/bridges/{topic('+', 'request')}", 1)
        client.subscribe(topic("+", "presence"), 1)
        client.publish(self._presence, ONLINE, qos=1, retain=True)
        log.info("bridge-connected", extra={"broker": "{}:{}".format(*self._broker)})

    def _came(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        device = device_of(message.topic)
        if message.topic.endswith("/presence"):
            (self.online.add if message.payload == ONLINE else self.online.discard)(device)
            said = message.payload[:16].decode(errors="replace")
            log.info("presence", extra={"device": device, "said": said, "online": len(self.online)})
            client.ack(message.mid, message.qos)
        else:
            self._pool.submit(self._forward, device, message)

    def _forward(self, device: str, message: mqtt.MQTTMessage) -> None:
        """Ask the service, answer the device, and only then let the broker forget the request."""
        try:
            told: list[tuple[str, str]] = list(getattr(message.properties, "UserProperty", []))
            asked, headers = dict(told), headers_of(told)
            method, path = asked.get("method", ""), asked.get("path", "")
            if method not in _METHODS or not path.startswith(_PREFIX) or ".." in path:
                answer = Response(404)
            else:
                answer = self._ask(method, path, headers, bytes(message.payload) or None)
            if self._too_long(device, answer):
                answer = Response(413, {}, b"longer than the broker's packets: raise its limit")
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = getattr(message.properties, "CorrelationData", b"")
            properties.UserProperty = [("status", str(answer.status)), *carried(answer.headers)]
            self.client.publish(topic(device, "answer"), answer.body, qos=1, properties=properties)
            if method == "GET" and path == STATE_PATH and answer.status in (200, 304):
                etag = answer.headers.get("etag", "")
                if answer.status == 200:
                    self._retain(device, answer)
                self._known[device] = headers.get("authorization", ""), etag
            self.forwarded += 1
        except Exception:  # one request's trouble is not the next one's
            log.exception("request-not-forwarded", extra={"device": device})
        finally:
            self.client.ack(message.mid, message.qos)

    def _too_long(self, device: str, answer: Response) -> bool:
        """Whether the broker would end the connection of all over this answer of one, again and again."""
        size = packet_bytes(topic(device, "answer"), answer.body, carried(answer.headers))
        if size > self._most_bytes:
            log.warning("answer-too-long", extra={"device": device, "bytes": size, "most": self._most_bytes})
        return size > self._most_bytes

    def _push(self, device: str) -> None:
        """Retain a device's desired state if it changed."""
        try:
            self._push_now(device)
        except Exception:  # one device's trouble is not the next one's
            log.exception("state-not-asked-for", extra={"device": device})

    def _push_now(self, device: str) -> None:
        authorization, etag = self._known[device]
        answer = self._ask("GET", STATE_PATH, {"authorization": authorization, "if-none-match": etag}, None)
        if answer.status == 200 and not self._too_long(device, answer):
            self._retain(device, answer)
            self._known[device] = authorization, answer.headers.get("etag", "")
            log.info("state-changed", extra={"device": device})
        elif answer.status in (401, 403):  # its token ended, or it was retired: it asks anew, or never
            del self._known[device]
            self.client.publish(topic(device, "state"), b"", qos=1, retain=True)

    def _retain(self, device: str, answer: Response) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [(name, value) for name, value in carried(answer.headers) if name == "etag"]
        self.client.publish(topic(device, "state"), answer.body, qos=1, retain=True, properties=properties)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Response:
        """The service's answer; 503 where there is none, upon which a device keeps what it has."""
        if not hasattr(self._local, "transport"):
            self._local.transport = HttpTransport(self._service, self._ca_file)
        try:
            answer: Response = self._local.transport.request(method, path, headers, body, _MOST_BYTES)
        except TransportError as error:
            log.warning("service-unreachable", extra={"error": error})
            return Response(503, {"retry-after": str(int(LIMITS.poll_s[0] * 30))})
        return answer
