"""Ports for servers that have to be told one.

What the system gives to connections (from 32768 on, usually) is left alone: a port of those that is free
now may be a client's when the server comes to it. Each port is given once, and processes begin at places of
their own.
"""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _COUNT = 10_000, 10_000
GRPC = 10_000
"""SeaweedFS listens this much above each of its ports, too."""
_next = itertools.count(os.getpid() * 997)


def free_port() -> int:
    """A port of loopback that nobody listens at, nor `GRPC` above it, and that was given to nobody."""
    for number in itertools.islice(_next, _COUNT):
        port = _FIRST + number % _COUNT
        if all(map(_is_free, (port, port + GRPC))):
            return port
    raise OSError(f"no port from {_FIRST} to {_FIRST + _COUNT} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
