"""Which proxy a request goes through: the one configured, or the environment's."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from acclimate_device.errors import ConfigError


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy, and the headers that it wants."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)


def proxy_of(url: str) -> Proxy | None:
    """The proxy that the environment names for a URL; None where it names none, or excepts the host."""
    parts, proxies = urlsplit(url), getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named or proxy_bypass(parts.hostname or ""):
        return None
    return proxy_at(named)


def proxy_at(address: str) -> Proxy | None:
    """The proxy at a URL such as `http://user:password@proxy.example.org:3128`; None for an empty one.

    Raises:
        ConfigError: not the URL of an HTTP proxy.
    """
    if not address:
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme != "http" or not host:
        shown = address.rpartition("@")[2]  # without the password
        raise ConfigError(f"proxy is {shown!r}: give a URL such as http://proxy.example.org:3128")
    if parts.username is None:
        return Proxy(host, port or 80)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    header = "Basic " + base64.b64encode(login.encode()).decode()
    return Proxy(host, port or 80, {"Proxy-Authorization": header})
