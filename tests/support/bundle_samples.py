"""Starts of every model family, and bundles without torch, for tests and the benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate_device.protocol import FILES, MANIFEST, Release


def start(
    name, input_shape, outputs, kind="classification", options=None, shots=2, seed=0, loss=None, **learner
):
    """An untrained start: seeded parameters and, where the learner has them, uneven learned rates."""
    import torch

    from acclimate.initialization import (
        AdaptationPolicy,
        Initialization,
        InputSchema,
        ModelSpec,
        Normalization,
    )
    from acclimate.learners import LearnerConfig, build_learner, loss_for, under
    from acclimate.models import build, parameters_of

    torch.manual_seed(seed)
    spec = ModelSpec(name, input_shape, outputs, options or {})
    config = LearnerConfig(**{"inner_lr": 0.05, "inner_steps": 3, **learner})
    model = build(spec)
    made = build_learner(config, model, loss_for(kind, loss))
    meta = made.init(parameters_of(model))
    names = tuple(f"out{index}" for index in range(outputs))
    return Initialization(
        params=under(meta, "param."),
        rates={key: rate * (0.5 + torch.rand(rate.shape)) for key, rate in under(meta, "rate.").items()},
        model=spec,
        schema=InputSchema(
            kind=kind,
            channels=tuple(f"in{index}" for index in range(input_shape[0])),
            labels=names if kind == "classification" else (),
            targets=names if kind != "classification" else (),
        ),
        normalization=Normalization((0.0,) * input_shape[0], (1.0,) * input_shape[0]),
        adaptation=AdaptationPolicy(3, config.inner_lr, shots, made.trainable, loss),
        learner=config.algorithm,
    )


def release_of(initialization, name="start", version=1):
    return Release(name, version, initialization.content_hash())


def export(initialization, **options):
    from acclimate.bundle.export import build_bundle

    return build_bundle(initialization, release_of(initialization), **options)


FAMILIES: dict[str, tuple[tuple[Any, ...], dict[str, Any], int]] = {
    "mlp": (("mlp", (16,), 5), {}, 21_000),
    "mlp, tanh, regression": (
        ("mlp", (3,), 2, "regression"),
        {"options": {"activation": "tanh"}},
        19_000,
    ),
    "mlp, silu, Huber loss": (
        ("mlp", (3,), 2, "regression"),
        {"loss": "huber", "options": {"activation": "silu"}},
        19_000,
    ),
    "mlp, Meta-SGD": (("mlp", (16,), 5), {"algorithm": "meta-sgd"}, 33_000),
    "conv1d, group norm": (("conv1d", (6, 64), 6), {}, 170_000),
    "conv1d, no norm, flattened": (
        ("conv1d", (6, 64), 6),
        {"options": {"norm": "none", "readout": "flatten", "blocks": 2}},
        80_000,
    ),
    "conv1d, batch statistics, per-step rates": (
        ("conv1d", (6, 64), 6),
        {"algorithm": "maml++", "options": {"norm": "batch"}},
        160_000,
    ),
    "conv1d, head only": (("conv1d", (6, 64), 6), {"algorithm": "anil"}, 140_000),
    "conv1d, biases only": (("conv1d", (6, 64), 6), {"trainable": "biases"}, 160_000),
    "conv4, batch statistics": (("conv4", (1, 28, 28), 5), {"options": {"filters": 32}}, 260_000),
    "conv4, group norm": (("conv4", (1, 28, 28), 5), {"options": {"filters": 32, "norm": "group"}}, 270_000),
    "spectral": (("spectral", (1, 2048), 6), {}, 270_000),
    "spectral, levels, any length": (("spectral", (3, 50), 4), {"options": {"level": True}}, 50_000),
    "forecast": (
        ("forecast", (4, 12), 6, "forecasting"),
        {"options": {"targets": (0, 2), "calendar": 1}, "loss": "mae", "trainable": "head"},
        70_000,
    ),
    "gru, forecasting": (("gru", (3, 8), 2, "forecasting"), {"options": {"hidden": 16}}, 55_000),
}
"""By family: how to make a start, and a ceiling for all of the bundle's files in bytes."""


def write_plain_bundle(directory: Path, name="start", version=1, fill: bytes = b"x") -> Path:
    """A bundle that is right in form, with files nobody can run: signing does not look inside."""
    from acclimate_device.protocol import Adaptation, Cost, File, Input, Manifest, Output, dumps

    files: Mapping[str, bytes] = {file: file.encode() + fill * 100 for file in FILES}
    manifest = Manifest(
        release=Release(name, version, hashlib.sha256(fill).hexdigest()),
        input=Input(shape=(1,), channels=("a",)),
        output=Output(kind="regression", width=1, targets=("t",)),
        adaptation=Adaptation(steps=1, inner_lr=0.1, shots=1, batch=1, loss="mse", trainable=("weight",)),
        cost=Cost(parameters=1, file_bytes=sum(map(len, files.values()))),
        files={file: File(len(data), hashlib.sha256(data).hexdigest()) for file, data in files.items()},
        learner="maml",
    )
    directory.mkdir(parents=True)
    for file, data in {**files, MANIFEST: dumps(manifest)}.items():
        (directory / file).write_bytes(data)
    return directory
