"""The agent's configuration: one TOML file; a wrong key is answered with the nearest known one."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from acclimate_device.errors import ConfigError, ProtocolError
from acclimate_device.protocol import PublicKey, read

Scalar = str | int | float | bool
_PATHS = ("state", "root", "token_file", "ca_file", "peers")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class AgentConfig:
    """What an agent needs to know.

    Attributes:
        service: URL of the rollout service; https, except on this machine. Or of an MQTT broker that a bridge
            joins to it, as `mqtts://`.
        state: folder that survives restarts, shared with the application.
        root: the trusted TUF root (`root.json`), which came with the device.
        token_file: holds the one-time enrolment token; may be removed after enrolment.
        service_key: the service's Ed25519 key in base64, to trust no other at enrolment; empty trusts the one
            the TLS connection gives.
        repository: URL of the TUF repository; empty means the service holds it.
        ca_file: certificate authorities for TLS; empty means the system's.
        hardware_id: what the device calls itself.
        attributes: facts a rollout may target.
        timeout_s: of one request.
        proxy: URL of an HTTP proxy; empty asks `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
        bytes_per_s: most that downloads take of the link; 0 for all there is.
        contribute: whether the owner agrees that the device takes part in campaigns: it then sends sums over
            its own examples, never an example. Set it to false again at any time.
        peers: file with public keys of devices in base64, one a line (`key` of `acclimate-device status`). In
            a campaign that hides what each device gives, more than two thirds of those beside this one must
            be among them. Without it the service says who is a device.
    """

    service: str
    state: Path
    root: Path
    token_file: Path | None = None
    service_key: str = ""
    repository: str = ""
    ca_file: Path | None = None
    hardware_id: str = ""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    timeout_s: float = 30.0
    proxy: str = ""
    bytes_per_s: float = 0.0
    contribute: bool = False
    peers: Path | None = None

    @staticmethod
    def load(path: Path) -> AgentConfig:
        """Read a TOML file; relative paths are relative to its folder.

        Raises:
            ConfigError: no such file, not TOML, an unknown key, a missing key, or a wrong value.
        """
        return AgentConfig.of(read_toml(path, "pass the configuration with --config"), path.parent, str(path))

    @staticmethod
    def of(values: Mapping[str, Any], folder: Path, where: str = "configuration") -> AgentConfig:
        """Check values as `load` does."""
        known = {one.name for one in fields(AgentConfig)}
        for key in values:
            if key not in known:
                raise ConfigError(f"{where}: {unknown_key(key, known)}")
        for key in ("service", "state", "root"):
            if key not in values:
                raise ConfigError(f"{where}: {key!r} is missing: see the README of acclimate-device")
        for key, value in values.items():
            _check_type(where, key, value)
        for key in ("service", "repository"):
            _check_url(where, key, str(values.get(key, "")))
        paths = {key: path_of(where, key, folder, values[key]) for key in _PATHS if key in values}
        return AgentConfig(**{**values, **paths})


def read_text(path: Path, shown: str, remedy: str = "") -> str:
    """A text file in UTF-8, whatever this machine's locale is; with or without a byte order mark.

    Args:
        shown: what an error calls it.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or "not a text file in UTF-8"
        raise ConfigError(f"{shown}: {told}{remedy and f': {remedy}'}") from None


def read_toml(path: Path, remedy: str) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path, str(path), remedy))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def read_peers(path: Path) -> frozenset[bytes]:
    """The raw public keys in a file, one a line in base64.

    Raises:
        ConfigError: no such file, or a line that is no key.
    """
    lines = read_text(path, f"peers {path}").split()
    try:
        return frozenset(read(PublicKey, {"ed25519": line}).raw for line in lines)
    except ProtocolError as error:
        raise ConfigError(
            f"peers {path}: {error}: give the keys that acclimate-device status shows"
        ) from None


def path_of(where: str, key: str, folder: Path, name: str) -> Path:
    """A path as a configuration in `folder` names it.

    Raises:
        ConfigError: it is none.
    """
    if not name or "\0" in name:
        raise ConfigError(f"{where}: {key} is {name!r}: give a path")
    try:
        return folder / Path(name).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{where}: {key} is {name!r}, but this account has no home: give a whole path"
        ) from None


def _check_type(where: str, key: str, value: object) -> None:
    if key == "attributes":
        if not isinstance(value, dict) or not all(isinstance(one, Scalar) for one in value.values()):
            raise ConfigError(f"{where}: attributes must be a table of strings, numbers and booleans")
        for name, one in value.items():
            if isinstance(one, float) and not math.isfinite(one):
                raise ConfigError(f"{where}: attributes.{name} is {one}: give a number, or leave it out")
    elif key == "timeout_s":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
            raise ConfigError(f"{where}: timeout_s is {value!r}: give seconds above 0, at most 3600")
    elif key == "bytes_per_s":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
            raise ConfigError(f"{where}: bytes_per_s is {value!r}: give bytes a second, or 0 for no limit")
    elif key == "contribute":
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: contribute is {value!r}: give true or false")
    elif not isinstance(value, str):
        raise ConfigError(f"{where}: {key} is {value!r}: give a string in quotes")


def _check_url(where: str, key: str, url: str) -> None:
    if not url and key == "repository":
        return
    parts = url_of(
        f"{where}: {key}", url, ("http", "https", *(("mqtt", "mqtts") if key == "service" else ()))
    )
    if parts.scheme in ("http", "mqtt") and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"{where}: {key} is {url!r}: plain {parts.scheme} would show the token: use {parts.scheme}s"
        )


def url_of(where: str, url: str, schemes: Collection[str]) -> SplitResult:
    """The parts of a URL of a host, a port and a path.

    Raises:
        ConfigError: it is none, of another scheme, or more than that.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # which says whether it is one
        host.encode("idna")
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in schemes or not host or not host.isprintable() or " " in host:
        usual = "mqtts://broker.example.org" if "https" not in schemes else "https://fleet.example.org"
        raise ConfigError(f"{where} is {url.rpartition('@')[2]!r}: give a URL such as {usual}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} is more than a host, a port and a path: give such as {parts.scheme}://{host}; keys "
            "prove who asks, not passwords"
        )
    return parts


def unknown_key(key: str, known: Collection[str]) -> str:
    """What is wrong with a key that is none, and which was meant or which there are."""
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
    return f"unknown key {key!r}: {hint}"
