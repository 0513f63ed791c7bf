"""The examples of the page: bare metal run on an emulated board, the systems' compiled."""

from __future__ import annotations

import socket
import struct
import subprocess

import numpy as np
import pytest

from acclimate_device.mcu.line import Ask, Line
from acclimate_device.mcu.ports import Port
from tests.support.mcu_board import BOARDS
from tests.support.mcu_host import HOST, STRICT, HostDevice
from tests.unit.mcu.test_decisions import stream

EXAMPLES = HOST.parents[2] / "device_sdk" / "mcu" / "examples"
SYSTEMS = HOST.with_name("mcu_systems")
"""What the examples use of kernels that Debian and PyPI do not have."""


@pytest.mark.parametrize("system", ["freertos", "zephyr"])
def test_the_examples_of_systems_compile(steps, system: str, tmp_path) -> None:
    folder = steps[1].with_suffix("")
    flags = ["-mcpu=cortex-m4", "-mthumb", "-std=gnu99", *STRICT[1:], f"-I{folder}", f"-I{SYSTEMS}"]
    flags.remove("-Wpedantic")  # a kernel's headers are its own
    command = ["arm-none-eabi-gcc", *flags, "-c", str(EXAMPLES / f"{system}.c")]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_bare_metal_is_a_child_of_a_gateway(steps, tmp_path) -> None:
    made, library = steps
    folder, elf = library.with_suffix(""), tmp_path / "firmware.elf"
    flags, machine = BOARDS["M3"]
    sources = [*map(str, sorted(folder.glob("*.c"))), str(EXAMPLES / "bare_metal.c")]
    link = ["-ffunction-sections", "-Wl,--gc-sections", "-nostartfiles", "--specs=nosys.specs"]
    subprocess.run(
        ["arm-none-eabi-gcc", *flags, "-mthumb", *STRICT, "-Os", *link, f"-T{EXAMPLES / 'bare_metal.ld'}",
         f"-I{folder}", *sources, "-lm", "-o", str(elf)],
        check=True, capture_output=True,
    )  # fmt: skip
    windows, classes = stream(1, 32)
    host = HostDevice(library, made.files["weights.blob"])
    expected, _ = host.stream(windows, classes)
    near, far = socket.socketpair()
    command = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none", "-serial", "stdio"]
    with far:
        board = subprocess.Popen([*command, "-kernel", str(elf)], stdin=far.fileno(), stdout=far.fileno())
    try:
        line = Line(Port(near.detach(), "board"), answer_s=60.0)
        told = []
        for x, y in zip(windows, classes, strict=True):
            data = np.asarray(x, "<f4").tobytes()
            told.append(line.example(Ask.PREDICT, data)[0])
            assert line.example(Ask.LEARN, struct.pack("<i", y) + data)[0] == 0
        assert told == expected.tolist()
        assert line.hello().adapted
    finally:
        board.kill()
        board.wait()
