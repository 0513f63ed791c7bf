"""Meta-training throughput beside learn2learn: same tasks, same meta-gradient, turns on one thread.

    PYTHONPATH=platform:device_sdk:/path/to/learn2learn-0.2.0 python -m bench.throughput

learn2learn is built from its source distribution with Cython (`python setup.py build_ext --inplace`) in an
environment of its own with the same torch. Before any timing the two meta-gradients are compared, in float64
in plain form and in float32 as timed. Then the two take turns; the ratio of each pair of turns is what is
printed, with its median and range. Processor time is measured, because a shared machine makes wall time say
little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acclimate.initialization import ModelSpec
from acclimate.learners import LOSSES, Learner, LearnerConfig, build_learner
from acclimate.models import build, parameters_of

Gradient = dict[str, Tensor]
OUTER_STEPS = 100_000  # a long run, so that `compile: auto` compiles where it pays in the end


@dataclass(frozen=True)
class Case:
    """A network and its episodes; `twin` is the same network as its users write it for learn2learn."""

    name: str
    spec: ModelSpec
    twin: Callable[[], nn.Module]
    loss: str
    inner_lr: float
    inner_steps: int
    tasks: int
    support: int
    query: int
    repeats: int


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    maml = learn2learn_maml()
    results = [measure(case, maml, arguments.turns) for case in CASES if arguments.only in case.name]
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=2))


def measure(case: Case, maml: Any, turns: int) -> dict[str, Any]:
    """Check that both compute the same meta-gradient, then time them in turns."""
    exact, _, _ = _pair(case, maml, torch.float64, compile_="off")
    agreement = _difference(exact)
    if agreement > 1e-9:
        raise SystemExit(f"{case.name}: the meta-gradients differ by {agreement:.1e} in float64")
    began = time.perf_counter()
    timed, learner, made = _pair(case, maml, torch.float32, compile_="auto")
    rounding = _difference(timed)
    start_s = time.perf_counter() - began
    ours, theirs = made
    ratios, rates = [], []
    for _ in range(turns):
        their_s, our_s = _cpu_s(theirs, 1), _cpu_s(ours, case.repeats)
        ratios.append(their_s / our_s)
        rates.append((case.tasks / their_s, case.tasks / our_s))
    result = {
        "case": case.name,
        "engine": learner.backend.name,
        "float64_difference": agreement,
        "float32_difference": rounding,
        "ratio_median": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "learn2learn_tasks_per_s": statistics.median(rate for rate, _ in rates),
        "acclimate_tasks_per_s": statistics.median(rate for _, rate in rates),
        "start_s": start_s,
        "load": os.getloadavg()[0],
    }
    print(
        f"{case.name:34s} {result['engine']:9s} {result['ratio_median']:6.2f}x "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {turns} turns)  "
        f"{result['learn2learn_tasks_per_s']:8.0f} -> {result['acclimate_tasks_per_s']:8.0f} tasks/s  "
        f"difference {agreement:.0e} / {rounding:.0e}  start {start_s:.0f} s  load {result['load']:.1f}",
        flush=True,
    )
    return result


def _pair(
    case: Case, maml: Any, dtype: torch.dtype, compile_: Literal["auto", "on", "off"]
) -> tuple[tuple[Gradient, Gradient], Learner, tuple[Callable[[], Gradient], Callable[[], Gradient]]]:
    torch.manual_seed(0)
    model, twin = build(case.spec).to(dtype), case.twin().to(dtype)
    names = _give_parameters(model, twin)
    config = LearnerConfig("maml", case.inner_lr, case.inner_steps, compile=compile_)
    learner = build_learner(config, model, LOSSES[case.loss], outer_steps=OUTER_STEPS)
    meta = learner.init(parameters_of(model))
    support, query = _batch(case, case.support, dtype), _batch(case, case.query, dtype)
    wrapped = maml(twin, lr=case.inner_lr, first_order=False)
    criterion = F.cross_entropy if case.loss == "cross_entropy" else F.mse_loss

    def theirs() -> Gradient:
        for parameter in twin.parameters():
            parameter.grad = None
        for task in range(case.tasks):
            clone = wrapped.clone()
            for _ in range(case.inner_steps):
                clone.adapt(criterion(clone(support[0][task]), support[1][task]))
            criterion(clone(query[0][task]), query[1][task]).backward()
        return {
            name: parameter.grad
            for name, parameter in zip(names, twin.parameters(), strict=True)
            if name and parameter.grad is not None
        }

    def ours() -> Gradient:
        gradient, _ = learner.meta_gradient(meta, support, query, 0)
        return {name.removeprefix("param."): tensor for name, tensor in gradient.items()}

    gradients = ours(), {name: tensor.clone() for name, tensor in theirs().items()}
    return gradients, learner, (ours, theirs)


def _give_parameters(model: nn.Module, twin: nn.Module) -> list[str]:
    """Copy our parameters into the twin; ours has no bias before a norm, so the twin's gets an empty name."""
    ours: Gradient = {**dict(model.named_parameters())}
    names: list[str] = []
    waiting = list(ours)
    with torch.no_grad():
        for parameter in twin.parameters():
            if (
                waiting
                and ours[waiting[0]].numel() == parameter.numel()
                and not _before_norm(names, ours, waiting)
            ):
                parameter.copy_(ours[waiting[0]].reshape(parameter.shape))
                names.append(waiting.pop(0))
            else:
                names.append("")
    assert not waiting, f"the twin lacks {waiting}"
    return names


def _before_norm(names: list[str], ours: Gradient, waiting: list[str]) -> bool:
    return bool(names) and names[-1].endswith("conv.weight") and waiting[0].endswith("norm.weight")


def _batch(case: Case, examples: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(case.tasks, examples, *case.spec.input_shape, dtype=dtype)
    if case.loss == "cross_entropy":
        y = torch.arange(examples).remainder(case.spec.outputs).expand(case.tasks, examples).contiguous()
    else:
        y = torch.randn(case.tasks, examples, case.spec.outputs, dtype=dtype)
    return x, y, torch.ones(case.tasks, examples, dtype=dtype)


def _difference(gradients: tuple[Gradient, Gradient]) -> float:
    """Norm of the difference of the two meta-gradients over the norm of theirs."""
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    flat = [torch.cat([side[name].reshape(-1) for name in ours]) for side in (ours, theirs)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def _cpu_s(function: Callable[[], Gradient], repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - began) / repeats


def _sinusoid_twin() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def _conv1d_twin() -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (6, 64, 64, 64):
        norm = nn.BatchNorm1d(64, track_running_stats=False)
        layers += [nn.Conv1d(channels, 64, 5, padding=2), norm, nn.ReLU(), nn.MaxPool1d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8, 6))


def _conv4_twin() -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        norm = nn.BatchNorm2d(64, track_running_stats=False)
        layers += [nn.Conv2d(channels, 64, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 5))


SINUSOID = ModelSpec("mlp", (1,), 1)
CONV1D = ModelSpec("conv1d", (6, 128), 6, {"filters": 64, "norm": "batch", "readout": "flatten"})
CONV4 = ModelSpec("conv4", (1, 28, 28), 5)
CASES = (
    Case("sinusoid mlp, 25 tasks, K=1", SINUSOID, _sinusoid_twin, "mse", 0.01, 1, 25, 10, 10, 20),
    Case("sinusoid mlp, 25 tasks, K=5", SINUSOID, _sinusoid_twin, "mse", 0.01, 5, 25, 10, 10, 20),
    Case("conv1d 6x128, 16 tasks 5-shot, K=1", CONV1D, _conv1d_twin, "cross_entropy", 0.1, 1, 16, 30, 30, 1),
    Case("conv4 28x28, 16 tasks 1-shot, K=1", CONV4, _conv4_twin, "cross_entropy", 0.4, 1, 16, 5, 5, 1),
)


def learn2learn_maml() -> Any:
    warnings.filterwarnings("ignore")
    # Its vision package wants a torchvision that matches torch to the patch; nothing here uses it.
    sys.modules.setdefault("learn2learn.vision", types.ModuleType("learn2learn.vision"))
    try:
        from learn2learn.algorithms import MAML
        from learn2learn.data import meta_dataset
    except ImportError as error:
        raise SystemExit(f"learn2learn cannot be imported ({error}): see the top of {__file__}") from error
    if not str(meta_dataset.__file__).endswith(".so"):
        raise SystemExit(
            "learn2learn is not built with Cython: run `python setup.py build_ext --inplace` there"
        )
    return MAML


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
