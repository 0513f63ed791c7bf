"""What static analysis finds in the C runtime: nothing."""

from __future__ import annotations

import subprocess

CHECKS = (
    "-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,"
    "-bugprone-implicit-widening-of-multiplication-result,"  # on 32 bits they are the same
    "-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"
)


def test_cppcheck_finds_nothing(gestures) -> None:
    folder = gestures[1].with_suffix("")
    options = ["--std=c99", "--enable=warning,portability,performance", "--error-exitcode=1", "-q"]
    told = subprocess.run(
        ["cppcheck", *options, f"-I{folder}", *map(str, sorted(folder.glob("*.c")))],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr


def test_clang_tidy_finds_nothing(gestures) -> None:
    folder = gestures[1].with_suffix("")
    files = [*map(str, sorted(folder.glob("*.c"))), "--", "-std=c99", f"-I{folder}"]
    told = subprocess.run(
        ["clang-tidy", "--quiet", f"-checks={CHECKS}", "-warnings-as-errors=*", *files],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout
