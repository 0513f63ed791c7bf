"""Where the C runtime's sources are, and what a firmware folder holds."""

from __future__ import annotations

import sys
from pathlib import Path

import acclimate_device
from acclimate.errors import BundleError


def runtime_folder() -> Path:
    """Where the C runtime lies.

    Raises:
        BundleError: this installation has none.
    """
    package = Path(acclimate_device.__file__).parent
    for folder in (package.parent / "mcu", Path(sys.prefix) / "share" / "acclimate" / "mcu"):
        if (folder / "acclimate.h").is_file():
            return folder
    raise BundleError(f"the C runtime is not beside {package}: install acclimate-device again")


def runtime_files() -> dict[str, bytes]:
    """The C runtime: headers and sources by name.

    Raises:
        BundleError: this installation has none.
    """
    folder = runtime_folder()
    return {file.name: file.read_bytes() for file in sorted((*folder.glob("*.c"), *folder.glob("*.h")))}
