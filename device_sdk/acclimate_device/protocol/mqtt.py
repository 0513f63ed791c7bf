"""The protocol over MQTT 5: the same messages under the same paths, on topics of one device each.

A device publishes requests on its `request` topic and reads answers on its `answer` topic, matched by MQTT's
correlation data; method, path, headers and status travel as user properties. Its desired state is retained on
its `state` topic, so that a device learns of a change without asking. `presence` holds `online`, or what the
broker says in its stead when it is gone: `offline`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ROOT = "acclimate/v1"
ONLINE, OFFLINE = b"online", b"offline"
CARRIED_HEADERS = (
    "authorization",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "if-none-match",
    "range",
    "retry-after",
)
"""HTTP headers that travel along; everything else is left behind."""

Properties = list[tuple[str, str]]


def topic(device: str, kind: str) -> str:
    """`request`, `answer`, `state` or `presence` of a device; `+` for every one's."""
    return f"{ROOT}/{device}/{kind}"


def device_of(topic: str) -> str:
    """Whose topic it is; empty for a topic of something else."""
    parts = topic.split("/")
    return parts[2] if len(parts) == 4 and "/".join(parts[:2]) == ROOT else ""


def name_of(key_id: str) -> str:
    """What a device calls itself on a broker, before and after it is enrolled: by its key."""
    return f"d-{key_id[:20]}"


def carried(headers: Mapping[str, str]) -> Properties:
    """Those headers that travel."""
    lower = {name.lower(): value for name, value in headers.items()}
    return [(name, lower[name]) for name in CARRIED_HEADERS if name in lower]


def headers_of(properties: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers among a message's user properties."""
    return {name: value for name, value in properties if name in CARRIED_HEADERS}


def packet_bytes(topic: str, payload: bytes, properties: Iterable[tuple[str, str]]) -> int:
    """What a publication takes on the wire, at most: a broker that finds it too long ends the connection."""
    return 64 + len(topic) + len(payload) + sum(5 + len(name) + 4 * len(value) for name, value in properties)
