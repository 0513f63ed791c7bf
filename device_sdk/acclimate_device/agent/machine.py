"""Which machine this is, and which start of its agent: so that two machines with one identity are noticed.

A copied card has the key, the enrolment and every other file. It has not the board's serial number, and its
agent draws another nonce.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from acclimate_device.errors import StorageError
from acclimate_device.protocol import Start
from acclimate_device.storage import Store

logger = logging.getLogger(__name__)

_RECORD = "starts"
_SERIALS = (
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/board_serial",
)


class Starts:
    """The start of this process, made when it is first asked for.

    Args:
        store: counts the starts.
        new_nonce: 32 random hexadecimal digits.
        hardware: what is soldered to this machine, by `serials`; empty where nothing tells.
    """

    def __init__(
        self, store: Store, new_nonce: Callable[[], str], hardware: Callable[[], str] | None = None
    ) -> None:
        self._store, self._new_nonce, self._hardware = store, new_nonce, hardware or serials
        self._start: Start | None = None

    def current(self, salt: str) -> Start:
        """This start.

        Args:
            salt: mixed into the digest, so that it means nothing beside another identity's.
        """
        if self._start is None:
            self._start = Start(self._new_nonce(), self._count(), digest(self._hardware(), salt))
        return self._start

    def counted(self) -> int:
        """How many starts there were.

        Raises:
            StorageError: the flash cannot be read.
        """
        raw = self._store.read(_RECORD)
        return int(raw) if raw is not None and raw.isdigit() else 0

    def _count(self) -> int:
        """How many starts this makes; 0 where the flash does not tell."""
        try:
            count = 1 + self.counted()
            self._store.write(_RECORD, b"%d" % count)
        except StorageError as error:
            logger.warning("event=start_not_counted error=%s", error)
            return 0
        return count


def digest(hardware: str, salt: str) -> str:
    """What the service is told of the hardware; empty where nothing tells."""
    return hashlib.sha256(f"{salt}\n{hardware}".encode()).hexdigest() if hardware else ""


def serials(root: Path = Path("/")) -> str:
    """What is soldered to this machine: a serial number, or else the addresses of its network interfaces.

    Interfaces on USB do not count: they are moved from machine to machine.
    """
    for name in _SERIALS:
        found = _text(root / name)
        if found.strip("0-. "):
            return found
    return " ".join(sorted(_addresses(root / "sys/class/net")))


def _addresses(interfaces: Path) -> Iterator[str]:
    try:
        found = sorted(interfaces.iterdir())
    except OSError:
        return
    for interface in found:
        device = interface / "device"
        permanent = _text(interface / "addr_assign_type") == "0"
        if permanent and device.exists() and "/usb" not in str(device.resolve()):
            yield _text(interface / "address")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().strip(b"\0 \n").decode(errors="replace")
    except OSError:
        return ""
