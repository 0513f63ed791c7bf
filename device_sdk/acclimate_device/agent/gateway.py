"""`acclimate-device gateway`: agents for the microcontrollers of one gateway, each a device of its own.

Beside the agent's configuration a second TOML file names the children:

    key = "gateway.pem"            # an Ed25519 key as PEM: it signs weights for them
    [child.pump-1]
    port = "/dev/ttyUSB0"          # or tcp:HOST:PORT
    bundle = "bundle"              # what its firmware was generated from
    token_file = "pump-1.token"    # its own one-time token
    contribute = true              # its owner agreed to campaigns; false if left out
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from acclimate_device.agent.agent import Agent
from acclimate_device.agent.config import AgentConfig, path_of, read_toml, unknown_key
from acclimate_device.agent.service import problem
from acclimate_device.errors import BundleError, ConfigError, DeviceError, TransportError
from acclimate_device.mcu.child import Child
from acclimate_device.mcu.line import Line
from acclimate_device.mcu.ports import Port, open_port
from acclimate_device.mcu.weights import Sign
from acclimate_device.storage import FileFlash, Store

logger = logging.getLogger(__name__)

_STEP_S = 5.0
_ENROL_S = 60.0
"""Between two attempts to enrol a child."""
_MOST_S = 300.0
"""Between two attempts at a child that does not answer: each may take fifteen seconds, and others wait."""
_PATHS = ("bundle", "token_file")
_KEYS = {**dict.fromkeys(("port", "hardware_id", *_PATHS), str), "baud": int, "contribute": bool}


@dataclass(frozen=True)
class ChildConfig:
    """One child of the second file.

    Attributes:
        name: in the file, and of its folder under the gateway's `state`.
        port: see `ports.open_port`.
        baud: of a serial port.
        bundle: folder of what its firmware was generated from.
        agent: its agent's configuration: the gateway's, with a state, an identity and a consent of its own.
    """

    name: str
    port: str
    baud: int
    bundle: Path
    agent: AgentConfig


@dataclass(frozen=True)
class GatewayConfig:
    """The second file.

    Attributes:
        sign: by the key.
        children: at least one.
    """

    sign: Sign
    children: tuple[ChildConfig, ...]

    @staticmethod
    def load(path: Path, own: AgentConfig) -> GatewayConfig:
        """Read a TOML file; relative paths are relative to its folder.

        Raises:
            ConfigError: no such file, not TOML, an unknown or missing key, or a wrong value.
        """
        values = read_toml(path, "pass the file of the children")
        named = values.get("child")
        if set(values) - {"key", "child"} or not isinstance(values.get("key"), str):
            raise ConfigError(f"{path}: give `key` and a table [child.NAME] for each, not {sorted(values)}")
        if not isinstance(named, dict) or not named:
            raise ConfigError(f"{path}: names no child: give a table [child.NAME] for each")
        children = tuple(_child(path, name, table, own) for name, table in named.items())
        for what, of in (("port", "port"), ("hardware_id", "agent.hardware_id")):
            given, times = Counter(map(attrgetter(of), children)).most_common(1)[0]
            if times > 1:
                raise ConfigError(f"{path}: {times} children have the {what} {given!r}: give each its own")
        return GatewayConfig(_signs(path_of(str(path), "key", path.parent, values["key"])), children)


def _child(path: Path, name: str, table: Any, own: AgentConfig) -> ChildConfig:
    where = f"{path}: [child.{name}]"
    if not name.replace("-", "").replace("_", "").isalnum() or not isinstance(table, Mapping):
        raise ConfigError(f"{where}: use a name of letters, digits, - and _, and a table")
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigError(f"{where}: {unknown_key(key, _KEYS)}")
        if type(value) is not _KEYS[key]:
            raise ConfigError(f"{where}: {key} is {value!r}: give a {_KEYS[key].__name__}")
    for key in ("port", "bundle"):
        if key not in table:
            raise ConfigError(f"{where}: {key!r} is missing")
    paths = {key: path_of(where, key, path.parent, table[key]) for key in _PATHS if key in table}
    agent = replace(
        own,
        state=own.state / "children" / name,
        token_file=paths.get("token_file"),
        hardware_id=table.get("hardware_id", name),
        contribute=table.get("contribute", False),
    )
    return ChildConfig(name, table["port"], table.get("baud", 115200), paths["bundle"], agent)


def _signs(path: Path) -> Sign:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"key {path}: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"key {path} is no Ed25519 key in PEM without a passphrase")
    return key.sign


@dataclass
class _Place:
    """One child as far as it is open, when its agent's next round is due, and when a failed one is tried."""

    agent: Agent | None = None
    child: Child | None = None
    port: Port | None = None
    due: float = 0.0
    again: float = 0.0
    wait_s: float = 0.0

    def put_off(self, now: float) -> None:
        """Try a child that failed again later, and later still where it fails again."""
        self.close()
        self.wait_s = min(max(_STEP_S, 2.0 * self.wait_s), _MOST_S)
        self.again = now + self.wait_s

    def close(self) -> None:
        """Give the line up, to open it anew."""
        if self.port is not None:
            self.port.close()
        self.port = None


class Gateway:
    """All children of one gateway, one after the other.

    Args:
        config: of the children.
        agent: makes the agent of a child's configuration, enrolled.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        config: GatewayConfig,
        agent: Callable[[AgentConfig], Agent],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._agent, self._clock = config, agent, clock
        self._open = {child.name: _Place() for child in config.children}

    def round(self) -> dict[str, str]:
        """Poll, obey and report for each child; what went wrong, by name, empty where nothing did."""
        return {child.name: self._turn(child, True) for child in self._config.children}

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop` is set; the service is asked when it wants to be."""
        while not stop.is_set():
            for child in self._config.children:
                self._turn(child, False)
            stop.wait(_STEP_S)

    def _turn(self, config: ChildConfig, always: bool) -> str:
        """The agent's part, then the child's: neither fails for the other."""
        place, trouble = self._open[config.name], ""
        if due := always or self._clock() >= place.due:
            trouble = self._ask(config, place)
        if not always and self._clock() < place.again:
            return trouble
        try:
            self._connected(config, place).step()
            place.wait_s = place.again = 0.0
            if due and place.agent is not None and not trouble:
                place.agent.send_reports()
        except DeviceError as error:
            place.put_off(self._clock())
            logger.warning("event=child_failed child=%s error=%s", config.name, error)
            trouble = trouble or str(error)
        return trouble

    def _ask(self, config: ChildConfig, place: _Place) -> str:
        """A round of the child's agent, who enrols first; what went wrong."""
        wait = _ENROL_S
        try:
            place.agent = place.agent or self._agent(config.agent)
            wait = place.agent.round()
            return str(place.agent.failed or "")
        except DeviceError as error:
            if isinstance(error, TransportError) and error.problem == problem("device-retired"):
                wait = math.inf
            logger.warning("event=agent_failed child=%s error=%s", config.name, error)
            return str(error)
        finally:
            place.due = self._clock() + wait

    def _connected(self, config: ChildConfig, place: _Place) -> Child:
        """The child at its line, which is opened where it is not."""
        if place.child is not None and place.port is not None:
            return place.child

        def factory(name: str) -> bytes | None:
            file = config.bundle / name
            try:
                return file.read_bytes() if file.is_file() else None
            except OSError as error:
                raise BundleError(f"{file} cannot be read: {error.strerror}") from None

        place.port = open_port(config.port, config.baud)
        line = Line(place.port)
        if place.child is None:
            store = Store(FileFlash(config.agent.state))
            place.child = Child(line, store, factory, self._config.sign)
        else:
            place.child.reconnect(line)
        return place.child
