"""A simulated device that is the C runtime: compiled for this machine, in a process of its own.

Its gateway is the SDK's: it is driven over the serial protocol, its agent polls for it, and it is enrolled,
placed in waves and judged like any other device.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate_device.clock import Clock
from acclimate_device.errors import InputError, LabelError, TransportError
from acclimate_device.mcu.child import Child
from acclimate_device.mcu.examples import packed, packed_labelled
from acclimate_device.mcu.line import REFUSALS, Ask, Line
from acclimate_device.mcu.ports import Port
from acclimate_device.online.versions import ReadFile
from acclimate_device.protocol import Manifest, Release, Report, Slot
from acclimate_device.storage import Store

_ANSWER_S = 120.0
"""On a machine that is busy with a fleet."""
_BAD_LABEL = -3
_PENDING = 256


@dataclass(frozen=True)
class Program:
    """The C runtime for this machine: `device_sdk/mcu/examples/host.c` with firmware of the factory's bundle.

    Attributes:
        path: of the executable.
        key: its gateway signs weights with.
    """

    path: Path
    key: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
    )

    def __reduce__(self) -> tuple[Callable[..., Program], tuple[Path, bytes]]:
        """For the other processes of one simulation."""
        return _program, (self.path, self.key.private_bytes_raw())


def _program(path: Path, key: bytes) -> Program:
    return Program(path, Ed25519PrivateKey.from_private_bytes(key))


class Microcontroller:
    """What a simulation asks of a `Device`, asked of a child of a gateway.

    Args:
        flash: file of its flash, which outlives its process.
        store: of its gateway, for this child.
        factory: reads a file of the bundle that its firmware was generated from.
        clock: its gateway's, Unix seconds.
        new_id: makes ids of reports.
        on_report: is shown each report before it is queued.
    """

    def __init__(
        self,
        program: Program,
        flash: Path,
        store: Store,
        factory: ReadFile,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        on_report: Callable[[Report], None],
    ) -> None:
        near, far = socket.socketpair()
        public = program.key.public_key().public_bytes_raw().hex()
        flash.parent.mkdir(parents=True, exist_ok=True)
        command = [str(program.path), str(flash), public]
        with far:
            process = subprocess.Popen(
                command, stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.DEVNULL
            )
        port = Port(near.detach(), f"microcontroller {flash.name}")
        self.halt = weakref.finalize(self, _halt, process, port)
        self._line = Line(port, answer_s=_ANSWER_S)
        self._child = Child(self._line, store, factory, program.key.sign, Clock(clock), new_id, on_report)
        self._waiting: OrderedDict[Hashable, Any] = OrderedDict()

    @property
    def manifest(self) -> Manifest:
        return self._child.manifest

    @property
    def release(self) -> Release:
        """What the child says it runs."""
        there = self._line.hello()
        return Release(self.manifest.release.name, there.version, there.content_hash)

    @property
    def slot(self) -> Slot:
        return self._child.slot

    @property
    def adapted(self) -> bool:
        return self._line.hello().adapted

    def predict_one(self, x: Any, key: Hashable | None = None) -> None:
        """Have it predict.

        Raises:
            InputError: it refuses the input.
        """
        self._answer(Ask.PREDICT, packed(self.manifest, x))
        if key is not None:
            self._waiting[key] = x
            if len(self._waiting) > _PENDING:
                self._waiting.popitem(last=False)

    def learn_one(self, x: Any, y: Any) -> None:
        """Have it learn.

        Raises:
            InputError, LabelError: it refuses the example.
        """
        self._answer(Ask.LEARN, packed_labelled(self.manifest, x, y))

    def learn_late(self, key: Hashable, y: Any) -> bool:
        """Have it learn from an input predicted under `key`; False where that is no longer remembered."""
        x = self._waiting.pop(key, None)
        if x is None:
            return False
        self.learn_one(x, y)
        return True

    def tick(self) -> None:
        """Obey what the agent was told, and report where a window is over."""
        self._child.step()

    def close(self) -> None:
        """Have it keep what it learnt and report, and switch it off."""
        if self.halt.alive:
            self._child.close()
            self.halt()

    def _answer(self, kind: Ask, data: bytes) -> None:
        told, _ = self._line.example(kind, data)
        if told == _BAD_LABEL:
            raise LabelError(REFUSALS[told])
        if told in (-1, -2, -4):
            raise InputError(REFUSALS[told])
        if told < 0:
            raise TransportError(f"the microcontroller answers {REFUSALS.get(told, told)}")


def _halt(process: subprocess.Popen[bytes], port: Port) -> None:
    port.close()
    process.kill()
    process.wait()
