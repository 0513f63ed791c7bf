"""The commands that make firmware, as a person runs them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from acclimate.bundle.mcu import toolchain
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate.cli.main import cli
from acclimate_device.errors import BundleError
from acclimate_device.mcu.weights import fits_c
from tests.support.mcu_host import GESTURES, HostDevice, build
from tests.unit.mcu.conftest import KEY, verify


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_an_exported_bundle_becomes_firmware_whose_weights_are_taken(tmp_path) -> None:
    key = tmp_path / "key.pem"
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(KEY.private_bytes(*pem))
    key.chmod(0o600)
    folder = tmp_path / "firmware"
    told = run(
        "export",
        str(GESTURES),
        "--target",
        "c",
        "-o",
        str(folder),
        "--key",
        str(key),
        "--counter",
        "7",
        "--json",
    )
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)
    assert figures["signed"]
    blob = (folder / "weights.blob").read_bytes()
    assert figures["blob_bytes"] == len(blob)
    device = HostDevice(build(folder), blob, verify=verify, key=KEY.public_key().public_bytes_raw())
    assert device.begun == 0
    assert device.lib.acc_counter(device.device) == 7
    again = run("export", str(GESTURES), "--target", "c", "-o", str(folder), "--json")
    assert json.loads(again.stdout)["topology"] == figures["topology"]


def test_what_no_microcontroller_runs_is_refused() -> None:
    manifest = bundle_in(GESTURES).manifest
    image = replace(manifest, input=replace(manifest.input, shape=(3, 4, 2)))
    with pytest.raises(BundleError, match="microcontrollers take rows and windows"):
        fits_c(image)


def test_other_files_are_not_written_over(tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    told = run("export", str(GESTURES), "--target", "c", "-o", str(tmp_path))
    assert "is no firmware" in str(told.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_doctor_looks_at_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(run("doctor", "--target", "c", "--json").stdout)
    assert {one["check"]: one["level"] for one in told["findings"]}["C runtime"] == "ok"
    monkeypatch.setattr("shutil.which", lambda name: None)
    without = {check: (level, remedy) for check, level, _, remedy in toolchain.toolchain()}
    assert without["compiler for cortex-m4"] == (
        "note",
        "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    )
