"""Streams of bytes to microcontrollers: serial devices, and sockets of whatever else carries bytes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import termios
import tty

from acclimate_device.errors import ConfigError, TransportError

_SPEEDS = {9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600}


class Port:
    """An open file descriptor as a `line.Stream`."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self.name = descriptor, name

    def read(self, timeout_s: float) -> bytes:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_s))
        if not ready:
            return b""
        try:
            data = os.read(self._descriptor, 4096)
        except OSError as error:
            raise TransportError(f"{self.name}: {error.strerror}") from None
        if not data:
            raise TransportError(f"{self.name}: the other end is closed")
        return data

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise TransportError(f"{self.name}: {error.strerror}") from None

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
            if not port.isdecimal():
                raise ConfigError(f"port {name!r}: give tcp:HOST:PORT")
            return Port(socket.create_connection((host, int(port)), 10.0).detach(), name)
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
        if os.isatty(descriptor):
            tty.setraw(descriptor)
            settings = termios.tcgetattr(descriptor)
            settings[4] = settings[5] = getattr(termios, f"B{baud}")
            termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        return Port(descriptor, name)
    except OSError as error:
        raise TransportError(f"port {name}: {error.strerror or error}") from None
