"""Firmware on an emulated board: compiled for a Cortex-M, linked into 64 kB of RAM, run under QEMU."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.mcu_host import STRICT

HERE = Path(__file__).parent
SOFT, HARD = ["-mfloat-abi=soft"], ["-mfloat-abi=hard"]
BOARDS = {
    "M0+": (["-mcpu=cortex-m0plus", *SOFT], "mps2-an385"),  # its code is a part of what an M3 runs
    "M3": (["-mcpu=cortex-m3", *SOFT], "mps2-an385"),
    "M4": (["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *HARD], "mps2-an386"),
    "M7": (["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", *HARD], "mps2-an500"),
}
"""Compiler flags, and QEMU's machine."""


@dataclass(frozen=True)
class Run:
    """What a firmware said, and what the linker says of it.

    Attributes:
        said: figures by name: begun, decisions, drifts, predict, learn, step (instructions), stack (bytes).
        ram, flash: bytes, without the stack and without the recorded stream.
        symbols: what is linked.
    """

    said: dict[str, int]
    ram: int
    flash: int
    symbols: set[str]


def run(firmware: Path, folder: Path, board: str, xs: np.ndarray, ys: np.ndarray) -> Run:
    """Compile, link, and run a stream of labelled inputs."""
    flags, machine = BOARDS[board]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stream.h").write_text(_stream(xs, ys))
    elf = folder / "firmware.elf"
    sources = [*sorted(firmware.glob("*.c")), HERE / "mcu_board.c"]
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            *flags,
            "-mthumb",
            *STRICT,
            "-Os",
            "-ffunction-sections",
            "-Wl,--gc-sections",
            "-nostartfiles",
            "--specs=nosys.specs",
            f"-T{HERE / 'mcu_board.ld'}",
            f"-I{firmware}",
            f"-I{folder}",
            *map(str, sources),
            "-lm",
            "-o",
            str(elf),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    said = subprocess.run(
        [
            "qemu-system-arm",
            "-M",
            machine,
            "-nographic",
            "-monitor",
            "none",
            "-serial",
            "none",
            "-semihosting-config",
            "enable=on,target=native",
            "-icount",
            "shift=0",
            "-kernel",
            str(elf),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = [line.split() for line in (said.stdout + said.stderr).splitlines()]
    figures = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    sizes = _output("arm-none-eabi-size", "-A", str(elf))
    sections = {line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")}
    named = {line.split()[-1] for line in _output("arm-none-eabi-nm", str(elf)).splitlines()}
    stream = xs.astype(np.float32).nbytes + 4 * len(ys)
    ram = sections[".data"] + sections[".bss"]
    return Run(figures, ram, sections[".text"] + sections[".data"] - stream, named)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _stream(xs: np.ndarray, ys: np.ndarray) -> str:
    values = ",".join(f"{float(value).hex()}f" for value in xs.astype(np.float32).reshape(-1))
    labels = ",".join(map(str, ys))
    return (
        f"#define STREAM {len(ys)}\nstatic const float stream_x[] = {{{values}}};\n"
        f"static const int32_t stream_y[] = {{{labels}}};\n"
    )
