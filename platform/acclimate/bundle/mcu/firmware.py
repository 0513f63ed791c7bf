"""From a bundle's folder to a folder that a firmware project compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.runtime import runtime_files
from acclimate.bundle.mcu.size import Footprint
from acclimate.bundle.mcu.source import Source, source_of
from acclimate.errors import BundleError
from acclimate.files import scratch_folder
from acclimate_device.bundle import Bundle, read_bundle
from acclimate_device.errors import BundleError as DeviceBundleError
from acclimate_device.mcu.weights import Sign, blob, topology

BLOB = "weights.blob"


@dataclass(frozen=True)
class Firmware:
    """Files by name, and what they come to.

    Attributes:
        files: `model.h`, `model.c`, the runtime, `weights.blob`, `factory.h` with the same bytes.
        topology: of the code, in hex; only blobs of the same are taken.
        footprint: predicted.
    """

    files: Mapping[str, bytes]
    topology: str
    footprint: Footprint


def bundle_in(folder: Path) -> Bundle:
    """A bundle that was exported before.

    Raises:
        BundleError: there is none, or a file is not what its manifest says.
    """

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    try:
        return read_bundle(read)
    except DeviceBundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}") from error


def firmware(bundle: Bundle, limits: DeviceLimits, counter: int, sign: Sign) -> Firmware:
    """Generate, sign and weigh.

    Raises:
        BundleError: the C runtime cannot run the bundle, or the limits do not allow it.
    """
    try:
        source = _fitting(bundle, limits)
        source.footprint.check(limits, bundle.manifest)
        weights = blob(bundle, counter, sign)
    except DeviceBundleError as error:
        raise BundleError(str(error)) from error
    files = {
        **runtime_files(),
        "model.h": source.header.encode(),
        "model.c": source.code.encode(),
        BLOB: weights,
        "factory.h": _array(weights).encode(),
    }
    return Firmware(files, topology(bundle).hex(), source.footprint)


def _fitting(bundle: Bundle, limits: DeviceLimits) -> Source:
    """With the whole batch at once where the RAM allows that, else in the largest parts that fit.

    Where none fits, the one that comes closest: what is wrong with it is said by its footprint.
    """
    best = source_of(bundle)
    part = best.macros.get("BATCH", 1)
    while part > 1 and not best.footprint.fits_ram(limits):
        part = -(-part // 2)
        try:
            made = source_of(bundle, part)
        except BundleError:  # not the mean of its parts
            break
        if made.footprint.ram_bytes < best.footprint.ram_bytes:
            best = made
    return best


def write_firmware(made: Firmware, directory: Path) -> None:
    """Write the files; `directory` then holds all of them and nothing else, or is as it was.

    Raises:
        BundleError: `directory` holds something else, or cannot be written.
    """
    occupied = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    if occupied and not (directory / "model.h").is_file():
        raise BundleError(f"{directory} exists and is no firmware: choose another directory, or empty it")
    try:
        with scratch_folder(directory) as fresh:
            for name, content in made.files.items():
                (fresh / name).write_bytes(content)
    except OSError as error:
        raise BundleError(f"the firmware cannot be written to {directory}: {error}") from error


def _array(weights: bytes) -> str:
    """The blob as a C array, for the factory's weights inside the firmware."""
    words = [int.from_bytes(weights[at : at + 4], "little") for at in range(0, len(weights), 4)]
    rows = [", ".join(f"0x{word:08x}" for word in words[at : at + 10]) for at in range(0, len(words), 10)]
    body = ",\n    ".join(rows)
    return (
        "/* The factory's weights, for acc_config: (const uint8_t *)acc_factory, sizeof acc_factory. */\n"
        f"#include <stdint.h>\n\nstatic const uint32_t acc_factory[{len(words)}] = {{\n    {body}}};\n"
    )
