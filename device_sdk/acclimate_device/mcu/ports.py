"""Streams of bytes to microcontrollers: serial devices, and sockets of whatever else carries bytes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import termios
import tty

from acclimate_device.errors import ConfigError, TransportError

_TAKEN_S = 5.0
"""Within which the other end has to take some bytes."""
_SPEEDS = {9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600}


class Port:
    """An open file descriptor as a `line.Stream`."""

    def __init__(self, descriptor: int, name: str) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self.name = descriptor, name

    def read(self, timeout_s: float) -> bytes:
        if not self._ready(select.POLLIN, timeout_s):
            return b""
        try:
            data = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise TransportError(f"{self.name}: {error.strerror}") from None
        if not data:
            raise TransportError(f"{self.name}: the other end is closed")
        return data

    def write(self, data: bytes) -> None:
        try:
            while data:
                if not self._ready(select.POLLOUT, _TAKEN_S):
                    raise TransportError(f"{self.name}: the other end takes no bytes within {_TAKEN_S:g} s")
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise TransportError(f"{self.name}: {error.strerror}") from None

    def _ready(self, event: int, timeout_s: float) -> bool:
        poll = select.poll()  # a gateway may hold more descriptors than `select` knows
        poll.register(self._descriptor, event)
        return bool(poll.poll(max(0.0, timeout_s) * 1000.0))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def open_port(name: str, baud: int = 115200) -> Port:
    """A serial device such as `/dev/ttyUSB0`, raw, or `tcp:HOST:PORT` where something else carries the bytes.

    Raises:
        ConfigError: the name or the speed cannot be used.
        TransportError: it cannot be opened.
    """
    if baud not in _SPEEDS:
        raise ConfigError(f"baud is {baud}: use one of {', '.join(map(str, sorted(_SPEEDS)))}")
    try:
        if name.startswith("tcp:"):
            host, _, port = name.removeprefix("tcp:").rpartition(":")
            if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
                raise ConfigError(f"port {name!r}: give tcp:HOST:PORT")
            return Port(socket.create_connection((host.strip("[]"), int(port)), 10.0).detach(), name)
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)  # no waiting for a carrier
    except (OSError, ValueError) as error:  # no such name, or none that a name may be
        raise TransportError(f"port {name}: {getattr(error, 'strerror', None) or error}") from None
    try:
        if os.isatty(descriptor):
            _set_up(descriptor, baud)
    except (OSError, termios.error) as error:
        os.close(descriptor)
        raise TransportError(f"port {name}: {error.args[-1]}") from None
    return Port(descriptor, name)


def _set_up(descriptor: int, baud: int) -> None:
    """Raw bytes, one stop bit, no handshakes; alone, and so that closing does not reset the board."""
    fcntl.ioctl(descriptor, termios.TIOCEXCL)
    tty.setraw(descriptor)
    settings = termios.tcgetattr(descriptor)
    settings[2] |= termios.CLOCAL | termios.CREAD
    settings[2] &= ~(termios.HUPCL | termios.CRTSCTS | termios.CSTOPB)
    settings[4] = settings[5] = getattr(termios, f"B{baud}")
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
