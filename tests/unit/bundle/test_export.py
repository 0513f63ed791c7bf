"""A bundle's bytes repeat, its files appear whole or not at all, and refusals name their cause."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from acclimate.bundle.export import build_bundle, write_bundle
from acclimate.bundle.limits import DeviceLimits
from acclimate.errors import BundleError
from acclimate.models import Network
from acclimate_device.bundle import parse_manifest, read_bundle
from acclimate_device.protocol import ADAPT, FILES, LIMITS, MANIFEST, PARAMS, Manifest, Release, loads
from acclimate_device.runtime.loading import load_engine
from tests.support.bundle_samples import export, release_of, start


@pytest.fixture(scope="module")
def initialization():
    return start("mlp", (6,), 3, options={"hidden": (8,)}, algorithm="meta-sgd")


@pytest.fixture(scope="module")
def bundle(initialization):
    return export(initialization, run_id="run-7")


def test_a_device_that_adapts_on_one_example_has_a_bundle_that_predicts_any_number():
    one = start("mlp", (6,), 1, "regression", options={"hidden": (8,)}, shots=1)
    engine = load_engine(read_bundle(export(one).files.get))
    for count in (1, 2, 5):
        assert engine.outputs(engine.start, np.zeros((count, 6), np.float32)).shape == (count, 1)


def test_a_verdict_of_any_length_leaves_a_bundle_that_devices_open(initialization):
    said = export(initialization, verdict="Record more. " * 40)
    assert parse_manifest(said.files[MANIFEST]).verdict.startswith("Record more. ")


def test_a_bundle_that_no_device_would_open_is_not_made(initialization):
    with pytest.raises(BundleError, match=r"no device would open this bundle: Manifest\.run_id: 257 char"):
        export(initialization, run_id="r" * 257)


def test_the_manifest_tells_the_truth_about_every_file(bundle, initialization):
    manifest = loads(Manifest, bundle.files[MANIFEST], LIMITS.manifest_bytes)
    assert manifest == bundle.manifest
    assert manifest.release == release_of(initialization)
    assert manifest.run_id == "run-7"
    assert set(bundle.files) == {MANIFEST, *FILES}
    for name in FILES:
        content = bundle.files[name]
        assert manifest.files[name].length == len(content)
        assert manifest.files[name].sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.cost.file_bytes == sum(len(bundle.files[name]) for name in FILES)
    assert manifest.cost.parameters == 6 * 8 + 8 + 8 * 3 + 3
    assert manifest.adaptation.batch == 2 * 3
    assert manifest.adaptation.rates == manifest.adaptation.trainable


def test_parameters_and_learned_rates_travel(bundle, initialization):
    tensors = safetensors.torch.load(bundle.files[PARAMS])
    for name, tensor in initialization.params.items():
        assert torch.equal(tensors.pop(f"param.{name}"), tensor)
    for name, tensor in initialization.rates.items():
        assert torch.equal(tensors.pop(f"rate.{name}"), tensor)
    assert not tensors


@pytest.mark.slow
def test_the_same_version_gives_the_same_bytes_however_its_parameters_are_ordered(bundle, initialization):
    turned = dataclasses.replace(
        initialization,
        params=dict(reversed(initialization.params.items())),
        rates=dict(reversed(initialization.rates.items())),
    )
    assert turned.content_hash() == initialization.content_hash()
    assert export(turned, run_id="run-7").files == bundle.files


HASHES = """
import dataclasses, hashlib, json, pathlib, sys
import safetensors.torch
from acclimate.initialization import Initialization
from acclimate_device.runtime.loading import load_engine
from tests.support.bundle_samples import export
folder = pathlib.Path(sys.argv[1])
stored = safetensors.torch.load((folder / "initialization.safetensors").read_bytes())
one = Initialization.load(folder)
params = {name.removeprefix("param."): value for name, value in stored.items() if name.startswith("param.")}
files = export(dataclasses.replace(one, params=params)).files
print(json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}))
"""


@pytest.mark.slow
def test_two_processes_export_the_same_bytes(initialization, tmp_path):
    """`safetensors.torch.load` gives tensors in another order in every process, and strings hash anew."""
    initialization.save(tmp_path)
    root = Path(__file__).parents[3]
    paths = os.pathsep.join(map(str, (root, root / "platform", root / "device_sdk")))
    hashes = [
        subprocess.run(
            [sys.executable, "-c", HASHES, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert hashes[0] == hashes[1]
    assert len(json.loads(hashes[0])) == 1 + len(FILES)


def test_release_must_be_of_this_initialization(initialization):
    with pytest.raises(BundleError, match="content hash 000000000000"):
        build_bundle(initialization, Release("start", 1, "0" * 64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_that_are_not_finite_are_named(initialization, value):
    params = {name: tensor.clone() for name, tensor in initialization.params.items()}
    params["head.bias"][0] = value
    with pytest.raises(BundleError, match=r"'head\.bias' holds NaN or infinity"):
        export(dataclasses.replace(initialization, params=params))


def test_learned_rates_that_are_not_finite_are_named(initialization):
    rates = {**initialization.rates, "head.bias": torch.full((1, 3), float("nan"))}
    with pytest.raises(BundleError, match=r"learned rate 'head\.bias' holds NaN"):
        export(dataclasses.replace(initialization, rates=rates))


def test_parameters_of_another_model_are_named(initialization):
    params = {**initialization.params, "head.bias": torch.zeros(4)}
    with pytest.raises(
        BundleError, match=r"'head\.bias' is \(4,\) in the initialization and \(3,\) in the model"
    ):
        export(dataclasses.replace(initialization, params=params))


def test_a_policy_that_moves_an_unknown_parameter_is_refused(initialization):
    policy = dataclasses.replace(initialization.adaptation, trainable=("tail.bias",))
    with pytest.raises(BundleError, match=r"'tail\.bias', which is no parameter of 'mlp'"):
        export(dataclasses.replace(initialization, adaptation=policy, rates={}))


@pytest.mark.parametrize(
    "name", ["parameters", "file_bytes", "peak_memory_bytes", "macs_per_step", "macs_per_prediction"]
)
def test_every_limit_is_enforced_by_name(bundle, name):
    used = getattr(bundle.manifest.cost, name)
    dataclasses.replace(DeviceLimits(), **{name: used}).check(bundle.manifest.cost)
    with pytest.raises(BundleError, match=rf"{name} {used:,} \(at most {used - 1:,}\)"):
        dataclasses.replace(DeviceLimits(), **{name: used - 1}).check(bundle.manifest.cost)


@pytest.mark.slow
def test_a_bundle_over_the_declared_limit_is_not_made(initialization):
    with pytest.raises(BundleError, match="parameters 83"):
        export(initialization, limits=DeviceLimits.declared({"parameters": 82}))


@pytest.mark.parametrize(
    "section", [{"colour": 1}, {"parameters": "many"}, {"parameters": True}, {"parameters": 0}]
)
def test_limits_that_are_none_are_refused(section):
    with pytest.raises(BundleError, match=r"device\.(colour|parameters)"):
        DeviceLimits.declared(section)


class Cumulative(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Upsampled(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(1, 1, 2)

    def forward(self, x):
        return self.up(x.unsqueeze(1)).squeeze(1)


def exotic(input_shape, outputs):
    return Network(Cumulative(), nn.Linear(input_shape[0], outputs))


def transposed(input_shape, outputs):
    return Network(Upsampled(), nn.Linear(input_shape[0] + 1, outputs))


def test_an_operator_without_inference_form_is_named():
    with pytest.raises(BundleError, match="bessel_j0"):
        export(start(f"{__name__}:exotic", (4,), 2))


def test_a_gradient_without_inference_form_is_named():
    with pytest.raises(BundleError, match="gradient of a transposed convolution"):
        export(start(f"{__name__}:transposed", (4,), 2))


def test_a_bundle_replaces_an_older_one_whole(bundle, tmp_path):
    target = tmp_path / "bundle"
    write_bundle({**bundle.files, "old.txt": b"old"}, target)
    write_bundle(bundle.files, target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == bundle.files
    assert list(tmp_path.iterdir()) == [target]


def test_other_peoples_files_are_never_replaced(bundle, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        write_bundle(bundle.files, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_failed_write_leaves_the_old_bundle(bundle, tmp_path, monkeypatch):
    target = tmp_path / "bundle"
    write_bundle(bundle.files, target)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle({**bundle.files, ADAPT: b"new"}, target)
    assert (target / ADAPT).read_bytes() == bundle.files[ADAPT]
    assert list(tmp_path.iterdir()) == [target]
