"""What making firmware needs on this machine: the runtime's sources, compilers, an emulated board."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.firmware import firmware, write_firmware
from acclimate.bundle.mcu.runtime import runtime_files, runtime_folder
from acclimate.bundle.mcu.signing import signer_of
from acclimate.errors import BundleError
from acclimate_device.bundle import Bundle

Found = tuple[str, Literal["ok", "note", "warning", "error"], str, str]
"""What was looked at, how it is, what was found, and the remedy."""

_COMPILE_S = 60.0
_HOST_REMEDY = "apt-get install gcc libsodium-dev"
_KERNELS = "acc_kernels.c"


def toolchain() -> Iterator[Found]:
    """Look, compile one file of the runtime for each processor, and change nothing."""
    try:
        files = runtime_files()
    except BundleError as error:
        yield "C runtime", "error", str(error), "pip install --force-reinstall acclimate-device"
        return
    yield "C runtime", "ok", f"{len(files)} files, {sum(map(len, files.values())):,} bytes", ""
    yield _compiler("cc", "this machine", [], files, "apt-get install gcc", "warning")
    cross = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
    for cpu in ("cortex-m0plus", "cortex-m4"):
        yield _compiler("arm-none-eabi-gcc", cpu, [f"-mcpu={cpu}", "-mthumb"], files, cross, "note")
    emulator = shutil.which("qemu-system-arm")
    remedy = "" if emulator else "apt-get install qemu-system-arm, to run firmware without a board"
    yield "emulated board", "ok" if emulator else "note", emulator or "no qemu-system-arm", remedy


def host_program(bundle: Bundle, folder: Path) -> Path:
    """The firmware of a bundle as a program of this machine, a child of a gateway on its standard streams.

    Args:
        folder: becomes the firmware's.

    Raises:
        BundleError: the C runtime cannot run the bundle, or this machine cannot compile it.
    """
    write_firmware(firmware(bundle, DeviceLimits(), 1, signer_of(None)), folder)
    program = folder / "host"
    sources = [*map(str, sorted(folder.glob("*.c"))), str(runtime_folder() / "examples" / "host.c")]
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O2", f"-I{folder}"]
    try:
        told = subprocess.run(
            ["cc", *flags, *sources, "-lsodium", "-lm", "-o", str(program)],
            capture_output=True,
            text=True,
            timeout=5 * _COMPILE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"the C runtime cannot be compiled here ({error}): {_HOST_REMEDY}") from None
    if told.returncode:
        why = next((line for line in told.stderr.splitlines() if "error" in line), told.stderr.strip())
        raise BundleError(f"the C runtime cannot be compiled here ({why}): {_HOST_REMEDY}")
    return program


def _compiler(
    name: str,
    processor: str,
    flags: list[str],
    files: dict[str, bytes],
    remedy: str,
    without: Literal["note", "warning"],
) -> Found:
    check = f"compiler for {processor}"
    if shutil.which(name) is None:
        return check, without, f"no {name}", remedy
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        try:
            told = subprocess.run(
                [name, "-std=c99", "-Os", *flags, "-c", _KERNELS, "-o", "kernels.o"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_COMPILE_S,
            )
        except subprocess.TimeoutExpired:
            return (
                check,
                "warning",
                f"{name} takes longer than {_COMPILE_S:g} s",
                "try again on an idle machine",
            )
    if told.returncode:
        return check, "error", f"{name}: {told.stderr.strip().splitlines()[0]}", remedy
    return check, "ok", f"{name} compiles {_KERNELS}", ""
