"""The firmware of every Cortex-M: no warning, no allocation, the host's decisions, RAM as predicted."""

from __future__ import annotations

import itertools
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from acclimate.bundle.limits import DeviceLimits
from acclimate.errors import BundleError
from bench.microcontrollers import learnt, models
from tests.support.mcu_board import BOARDS, run
from tests.support.mcu_host import GESTURES, STRICT, HostDevice, generate
from tests.unit.mcu.test_decisions import KINDS, stream

ALLOCATES = {"malloc", "free", "calloc", "realloc", "_sbrk", "_malloc_r", "printf", "vfprintf"}
COMPILERS = {"gcc -m32": ["gcc", "-m32"], "clang": ["clang"]}
"""Beside gcc, which the fixtures compile with, and those of the boards, whose firmware is linked below."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMPILERS)
def test_no_compiler_warns(name: str, kind: str, tmp_path, request) -> None:
    folder = request.getfixturevalue(KINDS[kind])[1].with_suffix("")
    command = [*COMPILERS[name], *STRICT, "-O1", "-c", *map(str, sorted(folder.glob("*.c")))]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("board", BOARDS)
def test_a_board_decides_as_the_host(board: str, kind: str, tmp_path, request) -> None:
    """And no compiler warns: every firmware is compiled strictly."""
    made, library = request.getfixturevalue(KINDS[kind])
    windows, classes = stream(0, 240)
    predictions, _ = HostDevice(library, made.files["weights.blob"]).stream(windows, classes)
    ran = run(library.with_suffix(""), tmp_path, board, windows, classes)
    assert ran.said["begun"] == 0
    assert ran.said["decisions"] == zlib.crc32(np.asarray(predictions, "<i4").tobytes())
    assert not ran.symbols & ALLOCATES
    assert abs(made.footprint.ram_bytes / ran.ram - 1) < 0.05
    assert ran.said["stack"] < 2048
    if kind == "gradient" and board == "M4":
        assert abs(made.footprint.instructions_per_step / ran.said["step"] - 1) < 0.15
    print(board, ran.said, "ram", ran.ram, "flash", ran.flash)


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "microcontrollers.md"
ROWS = {
    "gestures, closed form": "sample gestures, 3 x 8, 3 classes, closed form, M4",
    "gestures, gradient steps": "sample gestures, gradient steps of 12 examples, M4",
    "wisdm, closed form": "wisdm, 91 features, 18 classes, closed form, M4",
    "watch, closed form": "watch (the demo's), 6 x 100, 7 classes, closed form, M4",
}
"""Of the page's table, by the models of `bench.microcontrollers`."""


@pytest.mark.parametrize("few", [2, pytest.param(4, marks=pytest.mark.nightly)])
def test_the_page_tells_what_the_command_measures(few: int, tmp_path) -> None:
    """Of the samples what the exporter says, within 5 %; of all, by night, what the emulated board does."""
    for name, folder in itertools.islice(models(tmp_path), few):
        ram, flash, prediction, label, *_ = told(ROWS[name])
        firmware = tmp_path / "firmware" / name.replace(", ", "-")
        footprint = generate(folder, firmware).footprint
        assert abs(footprint.ram_bytes / ram - 1) < 0.05, name
        assert abs(footprint.flash_bytes / flash - 1) < 0.05, name
        if few == len(ROWS):
            ran = run(firmware, tmp_path / "board", "M4", *learnt(folder)[:2])
            assert ran.ram == ram, name
            measured = (ran.flash, ran.said["predict"], ran.said["learn"])
            np.testing.assert_allclose(measured, (flash, prediction, label), rtol=0.02, err_msg=name)


def told(row: str) -> list[int]:
    """The numbers of one row of the page's table."""
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row} |"))
    return [int(cell.replace(",", "")) for cell in line.split("|")[2:] if cell.strip()]


def test_the_same_bundle_gives_the_same_bytes(gestures, tmp_path) -> None:
    assert generate(GESTURES, tmp_path / "again").files["model.c"] == gestures[0].files["model.c"]


def test_what_does_not_fit_is_refused_with_what_takes_most(tmp_path) -> None:
    limits = DeviceLimits(ram_bytes=1000, flash_bytes=2000, instructions_per_label=10)
    with pytest.raises(
        BundleError, match=r"ram_bytes [\d,]+ \(at most 1,000\).*takes most of the RAM"
    ) as told:
        generate(GESTURES, tmp_path / "none", limits=limits)
    assert "flash_bytes" in str(told.value)
    assert "instructions_per_label" in str(told.value)
    assert not (tmp_path / "none").exists()
