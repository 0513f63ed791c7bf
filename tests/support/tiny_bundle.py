"""Makes the bundles inside `acclimate_device.testing`: `python -m tests.support.tiny_bundle`.

First-order MAML and closed-form heads on made gestures, a minute at most; then the platform's own export. Run
it again when the bundle format or the export changes: a slow test compares the exports with the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

import acclimate_device.testing
from acclimate.bundle.export import build_bundle, write_bundle
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.learners import LOSSES, LearnerConfig, build_learner, under
from acclimate.models import build, parameters_of
from acclimate_device.protocol import CurvePoint, Expected, Release
from acclimate_device.testing.gestures import CHANNELS, LABELS, SAMPLES, GestureDevice

FOLDER = Path(acclimate_device.testing.__file__).parent / "bundle"
CLOSED_FORM_FOLDER = FOLDER.with_name("closed_form_bundle")
MODEL = ModelSpec("mlp", (len(CHANNELS), SAMPLES), len(LABELS), {"hidden": (16,)})
POLICY = AdaptationPolicy(steps=5, inner_lr=0.2, shots=4)

Examples = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def bundle_files(
    params: Mapping[str, Tensor], expected: Expected | None, prior: Mapping[str, Tensor] | None = None
) -> dict[str, bytes]:
    """The bundle of these parameters, as the platform exports it; with a prior, one in closed form."""
    initialization = Initialization(
        params=params,
        prior=prior or {},
        model=MODEL,
        schema=InputSchema("classification", CHANNELS, ("g",) * 3, SAMPLES, 50.0, LABELS),
        normalization=Normalization((0.0,) * 3, (0.7,) * 3),
        adaptation=POLICY,
        learner="closed-form" if prior else "fomaml",
    )
    release = Release("gestures", 1, initialization.content_hash())
    return dict(build_bundle(initialization, release, expected=expected).files)


def closed_form(steps: int = 30) -> dict[str, bytes]:
    """Heads meta-trained on made gestures."""
    torch.manual_seed(0)
    model = build(MODEL)
    learner = build_learner(LearnerConfig("closed-form"), model, LOSSES["cross_entropy"])
    meta = learner.init(parameters_of(model))
    optimizer = torch.optim.Adam(list(meta.values()), lr=1e-2)
    for step in range(steps):
        episodes = [_episode(8 * step + task) for task in range(8)]
        shots = [(task + step) % 3 * len(LABELS) * 2 for task in range(8)]  # two or four of each, or none
        support, query = (
            tuple(torch.stack(part) for part in zip(*(episode[half] for episode in episodes), strict=True))
            for half in (0, 1)
        )
        w = (torch.arange(support[1].shape[1]) < torch.tensor(shots)[:, None]).float()
        gradient, _ = learner.meta_gradient(meta, (*support, w), (*query, torch.ones(query[1].shape)), step)
        for name, tensor in meta.items():
            tensor.grad = gradient[name] / 8
        optimizer.step()
    rates = {"last.forgetting": torch.tensor(0.998), "means.forgetting": torch.tensor(0.99)}
    prior = under(meta, "prior.") | rates
    return bundle_files(under(meta, "param."), None, prior)


def main() -> None:
    heads = closed_form()
    write_bundle(heads, CLOSED_FORM_FOLDER)
    print(f"{sum(map(len, heads.values()))} bytes in {CLOSED_FORM_FOLDER}")
    torch.manual_seed(0)
    model = build(MODEL)
    params = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam([parameter.requires_grad_() for parameter in params.values()], lr=3e-3)
    for step in range(600):
        optimizer.zero_grad()
        for task in range(8):
            support, query = _episode(8 * step + task)
            adapted = _adapt(model, params, support)
            gradients = torch.autograd.grad(_loss(model, adapted, query), list(adapted.values()))
            for parameter, gradient in zip(params.values(), gradients, strict=True):
                parameter.grad = gradient / 8 + (0 if parameter.grad is None else parameter.grad)
        optimizer.step()
    params = {name: parameter.detach() for name, parameter in params.items()}
    expected = _curve(model, params)
    print([f"{point.steps}: {point.mean:.3f}" for point in expected.points])
    files = bundle_files(params, expected)
    write_bundle(files, FOLDER)
    print(f"{sum(map(len, files.values()))} bytes in {FOLDER}")


def _episode(seed: int) -> tuple[Examples, Examples]:
    device = GestureDevice(seed)
    support = [device.example(label) for _ in range(POLICY.shots) for label in LABELS]
    return _tensors(support), _tensors(list(device.examples(24)))


def _tensors(examples: list[tuple[list[list[float]], str]]) -> Examples:
    x = torch.from_numpy(np.asarray([window for window, _ in examples], np.float32)) / 0.7
    return x, torch.tensor([LABELS.index(label) for _, label in examples])


def _loss(model: torch.nn.Module, params: Params, examples: Examples) -> Tensor:
    return torch.nn.functional.cross_entropy(functional_call(model, params, (examples[0],)), examples[1])


def _adapt(model: torch.nn.Module, params: Params, support: Examples) -> Params:
    for _ in range(POLICY.steps):
        gradients = torch.autograd.grad(_loss(model, params, support), list(params.values()))
        moved = [value - POLICY.inner_lr * g for value, g in zip(params.values(), gradients, strict=True)]
        params = {n: value.detach().requires_grad_() for n, value in zip(params, moved, strict=True)}
    return params


def _curve(model: torch.nn.Module, params: Params) -> Expected:
    before, after = [], []
    for seed in range(10**6, 10**6 + 100):
        support, (x, y) = _episode(seed)
        start = {name: value.clone().requires_grad_() for name, value in params.items()}
        adapted = _adapt(model, start, support)
        for found, used in ((before, start), (after, adapted)):
            found.append(float((functional_call(model, used, (x,)).argmax(1) == y).float().mean()))
    points = tuple(
        CurvePoint(steps, float(np.mean(found)), {"p05": float(np.quantile(found, 0.05))})
        for steps, found in ((0, before), (POLICY.steps, after))
    )
    return Expected("accuracy", True, POLICY.shots, 100, points)


if __name__ == "__main__":
    main()
