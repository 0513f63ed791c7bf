"""What static analysis finds in the C runtime: nothing."""

from __future__ import annotations

import subprocess

import pytest

CHECKS = (
    "-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,"
    "-bugprone-implicit-widening-of-multiplication-result,"  # on 32 bits they are the same
    "-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"
)


OWN = {"acc_device.c", "acc_input.c", "acc_flash.c", "acc_heads.c", "acc_gradient.c"}
"""What differs between the kinds of adaptation; the other files are looked at once."""


def sources(firmware, only=None) -> tuple[list[str], str]:
    folder = firmware[1].with_suffix("")
    files = [path for path in sorted(folder.glob("acc_*.c")) if only is None or path.name in only]
    return list(map(str, files)), f"-I{folder}"


def test_cppcheck_finds_nothing(gestures, steps) -> None:
    options = ["--std=c99", "--enable=warning,portability,performance", "--error-exitcode=1", "-q"]
    for files, include in (sources(gestures), sources(steps, OWN)):
        told = subprocess.run(["cppcheck", *options, include, *files], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("mode", ["shallow", pytest.param("deep", marks=pytest.mark.nightly)])
def test_clang_tidy_finds_nothing(gestures, steps, mode: str) -> None:
    """How deep the analyzer follows calls; the checks of each line are the same."""
    for files, include in (sources(gestures), sources(steps, OWN)):
        flags = ["--", "-std=c99", include, "-Xclang", "-analyzer-config", "-Xclang", f"mode={mode}"]
        told = subprocess.run(
            ["clang-tidy", "--quiet", f"-checks={CHECKS}", "-warnings-as-errors=*", *files, *flags],
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stdout
