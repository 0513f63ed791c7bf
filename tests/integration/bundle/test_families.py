"""Every model family leaves torch behind: twenty steps agree, files stay small, no torch is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load

from acclimate.bundle.export import write_bundle
from acclimate.bundle.probe import probe_batch
from acclimate.bundle.verification import TOLERANCE
from acclimate.learners import LearnerConfig, build_learner, loss_for
from acclimate.models import build
from tests.support.bundle_samples import FAMILIES, export, start

pytestmark = pytest.mark.slow

STEPS = 20
# What a device does, with nothing but numpy and onnxruntime: load, check the sanity vector, chain steps.
DEVICE = """
import builtins, json, sys
from pathlib import Path
real_import = builtins.__import__
def without(name, *args, **kwargs):
    if name.partition(".")[0] in ("torch", "acclimate", "onnx", "safetensors"):
        raise ImportError(f"{name} is not on a device")
    return real_import(name, *args, **kwargs)
builtins.__import__ = without
import numpy as np, onnxruntime
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
manifest = json.loads((folder / "manifest.json").read_text())
def tensors(name):
    raw = (folder / name).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    kinds = {"F32": np.float32, "I64": np.int64}
    return {
        key: np.frombuffer(raw, kinds[entry["dtype"]], count=int(np.prod(entry["shape"])),
                           offset=8 + size + entry["data_offsets"][0]).reshape(entry["shape"])
        for key, entry in json.loads(raw[8:8 + size]).items() if key != "__metadata__"
    }
state, sanity = tensors("params.safetensors"), tensors("sanity.safetensors")
rates = {key: value for key, value in state.items() if key.startswith("rate.")}
params = {key: value for key, value in state.items() if key.startswith("param.")}
predict = onnxruntime.InferenceSession(folder / "predict.onnx")
adapt = onnxruntime.InferenceSession(folder / "adapt.onnx")
def run(session, feeds):
    return session.run(None, {entry.name: feeds[entry.name] for entry in session.get_inputs()})
assert np.abs(run(predict, {**params, "x": sanity["x"]})[0] - sanity["outputs"]).max() < 1e-4
names = [entry.name for entry in adapt.get_outputs()]
assert names == [f"next.{name}" for name in manifest["adaptation"]["trainable"]] + ["loss"]
batch = {name: sanity[name] for name in ("x", "y", "w")}
batch["lr"] = np.array(manifest["adaptation"]["inner_lr"], np.float32)
losses = []
for step in range(steps):
    now = {key: np.asarray(value[min(step, len(value) - 1)]) for key, value in rates.items()}
    *moved, loss = run(adapt, {**params, **now, **batch})
    params |= {name.replace("next.", "param."): value for name, value in zip(names, moved)}
    losses.append(float(loss))
expected = sanity["losses"]
assert np.abs(np.array(losses[: len(expected)]) - expected).max() < 1e-4
np.savez(sys.argv[3], **params)
print(json.dumps({"torch": "torch" in sys.modules, "losses": losses}))
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_steps_without_torch_are_the_learners_own(family, tmp_path):
    arguments, options, ceiling = FAMILIES[family]
    initialization = start(*arguments, **options)
    bundle = export(initialization)
    assert bundle.manifest.cost.file_bytes <= ceiling
    write_bundle(bundle.files, tmp_path / "bundle")
    device = subprocess.run(
        [sys.executable, "-c", DEVICE, tmp_path / "bundle", str(STEPS), tmp_path / "after.npz"],
        capture_output=True,
        text=True,
    )
    assert device.returncode == 0, device.stderr
    assert json.loads(device.stdout)["torch"] is False
    after = {name.removeprefix("param."): value for name, value in np.load(tmp_path / "after.npz").items()}
    assert set(after) == set(initialization.params)
    kind = initialization.schema.kind
    config = LearnerConfig(**{"inner_lr": 0.05, "inner_steps": 3, **learner_options(options)})
    learner = build_learner(config, build(initialization.model), loss_for(kind, options.get("loss")))
    meta = {f"param.{name}": value for name, value in initialization.params.items()}
    meta |= {f"rate.{name}": value for name, value in initialization.rates.items()}
    support = tuple(
        tensor.unsqueeze(0) for tensor in probe_batch(initialization, bundle.manifest.adaptation.batch)
    )
    wanted = learner.adapt(meta, support, STEPS)[-1]
    for name, value in after.items():
        want = wanted[name].reshape(value.shape).numpy()
        if name not in bundle.manifest.adaptation.trainable:
            assert np.array_equal(value, want)
        elif bundle.agreement.chained <= TOLERANCE:
            assert np.abs(value - want).max() <= 2 * TOLERANCE * max(1, np.abs(want).max())


def learner_options(options):
    return {key: value for key, value in options.items() if key not in ("options", "shots", "loss")}


def test_a_short_batch_padded_with_weight_zero_gives_the_same_step():
    """The promise of `w`, on the graph itself, with rubbish in the padding."""
    from acclimate.bundle.verification import Session

    initialization = start("mlp", (6,), 3)
    bundle = export(initialization)
    session = Session(bundle.files["adapt.onnx"])
    params = {f"param.{name}": value for name, value in initialization.params.items()}
    lr = torch.tensor(0.1)
    x, y, w = torch.randn(6, 6), torch.arange(6) % 3, torch.tensor([1.0, 1, 1, 1, 0, 0])
    one = session.run({**params, "x": x, "y": y, "w": w, "lr": lr})
    x[4:], y[4:] = 1e3, 2
    two = session.run({**params, "x": x, "y": y, "w": w, "lr": lr})
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    x[3] += 1
    assert not torch.equal(session.run({**params, "x": x, "y": y, "w": w, "lr": lr})[0], one[0])


def test_a_sanity_vector_holds_its_own_padding():
    bundle = export(start("mlp", (6,), 3))
    assert load(bundle.files["sanity.safetensors"])["w"].tolist() == [1, 1, 1, 1, 1, 0]
