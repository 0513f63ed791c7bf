"""Whatever comes from outside: serial bytes, frames, blobs and flash, under the sanitizers."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.mcu_host import HOST
from tests.unit.mcu.test_decisions import KINDS

NIGHTLY = int(os.environ.get("ACCLIMATE_FUZZ_INPUTS", "10000000"))
"""Inputs of the nightly test: a setting, for machines of other speed; about 7,000 a second on one core."""
FIRMWARE = [*KINDS.values(), "numbers"]


def fuzz(firmware, tmp_path, runs: int, limit: int) -> None:
    folder = firmware[1].with_suffix("")
    harness = HOST.with_name("mcu_fuzz.c")
    program, found = tmp_path / "fuzz", tmp_path / "corpus"
    found.mkdir()
    flags = ["-std=c99", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    sources = [*map(str, sorted(folder.glob("*.c"))), str(harness)]
    subprocess.run(["clang", *flags, f"-I{folder}", *sources, "-lm", "-o", str(program)], check=True)
    options = [f"-runs={runs}", "-seed=1", "-max_len=1024", "-len_control=0", "-print_final_stats=1"]
    told = subprocess.run(
        [str(program), *options, str(found)], cwd=tmp_path, capture_output=True, text=True, timeout=limit
    )
    assert told.returncode == 0, told.stderr[-4000:]
    assert f"stat::number_of_executed_units: {runs}" in told.stderr


def test_a_few_thousand_inputs(steps, tmp_path) -> None:
    fuzz(steps, tmp_path, 3000, 250)


@pytest.mark.nightly
@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("firmware", FIRMWARE)
def test_ten_million_inputs(firmware: str, tmp_path, request) -> None:
    fuzz(request.getfixturevalue(firmware), tmp_path, NIGHTLY // len(FIRMWARE), 9_500)
