"""Graphs agree with torch, files are small, bytes repeat, refusals name their cause."""

from __future__ import annotations

import pytest
import torch

from acclimate.bundle.export import Bundle, build_bundle
from acclimate.bundle.verification import TOLERANCE
from acclimate.errors import BundleError
from acclimate.initialization import (
    AdaptationPolicy,
    Initialization,
    InputSchema,
    ModelSpec,
    Normalization,
    TaskKind,
)
from acclimate.learners import LearnerConfig, build_learner, loss_for
from acclimate.models import build, parameters_of
from acclimate_device.protocol import Release


def initialization(
    spec: ModelSpec, kind: TaskKind = "classification", seed: int = 0, **learner: object
) -> Initialization:
    torch.manual_seed(seed)
    config = LearnerConfig(**{"inner_lr": 0.05, "inner_steps": 3, **learner})
    model = build(spec)
    trained = build_learner(config, model, loss_for(kind))
    params, rates = trained.split(trained.init(parameters_of(model)))
    rates = {name: rate * torch.rand(rate.shape) for name, rate in rates.items()}
    names = tuple(f"out{index}" for index in range(spec.outputs))
    return Initialization(
        params=params,
        rates=rates,
        model=spec,
        schema=InputSchema(
            kind=kind,
            channels=tuple(f"in{index}" for index in range(spec.input_shape[0])),
            labels=names if kind == "classification" else (),
            targets=names if kind != "classification" else (),
        ),
        normalization=Normalization((0.0,) * spec.input_shape[0], (1.0,) * spec.input_shape[0]),
        adaptation=AdaptationPolicy(3, config.inner_lr, 2, trained.trainable),
        learner=config.algorithm,
    )


def export(start: Initialization, **options: object) -> Bundle:
    return build_bundle(start, Release("start", 1, start.content_hash()), **options)


MLP = ModelSpec("mlp", (6,), 3, {"hidden": (8,)})


def test_release_must_be_of_this_initialization():
    with pytest.raises(BundleError, match="content hash 000000000000"):
        build_bundle(initialization(MLP), Release("start", 1, "0" * 64))


def test_mlp():
    bundle = export(initialization(MLP))
    assert bundle.agreement.chained <= TOLERANCE
