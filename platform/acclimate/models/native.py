"""Compile the C kernel of this package once and load it.

The shared object is kept in the user's cache directory under a hash of the source, the flags and the
processor, and put there by a rename, so that processes that start together never see half of one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("norm_relu_pool.c")
FLAGS = ("-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")


class NoCompilerError(Exception):
    """Why the kernel cannot be had on this machine; the caller falls back to torch's own operators."""


@functools.cache
def kernel() -> ctypes.CDLL:
    """The compiled kernel.

    Raises:
        NoCompilerError: there is no C compiler, or it failed.
    """
    compiler = compiler_found()
    if compiler is None:
        raise NoCompilerError("no C compiler: install gcc or clang, or set CC")
    identity = "\n".join((SOURCE.read_text(), compiler, *FLAGS, platform.machine(), _processor()))
    cached = _cache() / f"norm_relu_pool-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"
    try:
        if not cached.exists():
            _compile(compiler, cached)
        return ctypes.CDLL(str(cached))
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        raise NoCompilerError(f"{compiler} could not build {SOURCE.name}: {str(detail).strip()}") from error


def compiler_found() -> str | None:
    """Path of the C compiler: `CC`, or else cc, gcc or clang."""
    return next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)


def _compile(compiler: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / target.name
        command = [compiler, *FLAGS, "-o", str(made), str(SOURCE), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        made.replace(target)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acclimate"


def _processor() -> str:
    """What -march=native depends on: a cache on a shared home must not serve another processor's code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
