"""Which backend is chosen, and that it changes only the time: same gradient, same bits in every process."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch

from acclimate.errors import ModelError
from acclimate.initialization import ModelSpec
from acclimate.learners import LOSSES, LearnerConfig, build_learner, choose_backend
from acclimate.models import build, parameters_of

MLP = ModelSpec("mlp", (3,), 2, {"hidden": [4]})
CONV = ModelSpec("conv1d", (2, 9), 2, {"filters": 4, "blocks": 2, "norm": "batch"})
GROUP = ModelSpec("conv1d", (2, 9), 2, {"filters": 4, "blocks": 2})


@pytest.mark.parametrize(
    ("spec", "config", "outer_steps", "backend"),
    [
        (MLP, LearnerConfig(inner_steps=5), 10_000, "compiled"),
        (MLP, LearnerConfig(inner_steps=5), 1_000, "plain"),
        (MLP, LearnerConfig(inner_steps=5), None, "plain"),
        (MLP, LearnerConfig(compile="on"), None, "compiled"),
        (MLP, LearnerConfig("reptile", serial=True), 1_000_000, "plain"),
        (GROUP, LearnerConfig(), 1_000_000, "plain"),
        (CONV, LearnerConfig(), 1_000_000, "plain"),
    ],
)
def test_the_backend_follows_model_and_length_of_the_run(
    spec: ModelSpec, config: LearnerConfig, outer_steps: int | None, backend: str
) -> None:
    assert choose_backend(config, build(spec), outer_steps).name == backend


def test_without_a_compiler_auto_falls_back_with_a_reason_and_on_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose_backend(LearnerConfig(inner_steps=5), build(MLP), 10_000)
    assert chosen.name == "plain"
    assert "install g++" in chosen.reason
    assert [vars(record)["instead_of"] for record in caplog.records] == ["compiled"]
    with pytest.raises(ModelError, match=r"set learner\.compile to off"):
        choose_backend(LearnerConfig(compile="on"), build(MLP), 10_000)


def gradient_hash(spec: ModelSpec, compile_: str, algorithm: str = "maml") -> str:
    """The meta-gradient of a small shard, bit by bit."""
    torch.manual_seed(5)
    model = build(spec)
    learner = build_learner(LearnerConfig(algorithm, 0.1, 2, compile=compile_), model, LOSSES["mse"])
    batch = torch.randn(9, 5, *spec.input_shape), torch.randn(9, 5, 2), torch.ones(9, 5)
    gradient, _ = learner.meta_gradient(learner.init(parameters_of(model)), batch, batch, 0)
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in gradient.values())).hexdigest()


PROGRAM = """
import importlib.util, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("test_backend", {path!r})
module = importlib.util.module_from_spec(spec)
sys.modules["test_backend"] = module
spec.loader.exec_module(module)
print(module.gradient_hash(getattr(module, {model!r}), {compile_!r}))
if {compile_!r} == "on":
    from torch._dynamo.utils import counters
    print("made before:", counters["inductor"]["fxgraph_cache_hit"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "compile_"), [("MLP", "on"), ("MLP", "off"), ("CONV", "auto"), ("GROUP", "off")]
)
def test_another_process_computes_the_same_bits(model: str, compile_: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = gradient_hash(globals()[model], compile_)
    finally:
        torch.set_num_threads(threads)
    program = PROGRAM.format(path=__file__, model=model, compile_=compile_)
    told = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        for _ in range(2 if compile_ == "on" else 1)
    ]
    assert all(there.split("\n", 1)[0] == here for there in told)
    assert compile_ != "on" or "made before: 1" in told[-1]  # a run resumed waits for no compiler


@pytest.mark.slow
@pytest.mark.timeout(600)  # compilers are slow on a busy machine
@pytest.mark.parametrize("algorithm", ["maml++", "reptile"])
def test_compiling_changes_nothing_but_rounding(algorithm: str) -> None:
    torch.manual_seed(6)
    model = build(MLP).double()
    batch = tuple(part.double() for part in (torch.randn(3, 5, 3), torch.randn(3, 5, 2), torch.ones(3, 5)))
    results = []
    for compile_ in ("on", "off"):
        config = LearnerConfig(algorithm, 0.1, 2, compile=compile_)
        learner = build_learner(config, model, LOSSES["mse"])
        gradient, figures = learner.meta_gradient(learner.init(parameters_of(model)), batch, batch, 5)
        results.append({**gradient, **figures})
    for name in results[0] | results[1]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_compiled_code_tells_whether_it_draws_and_draws_what_it_is_seeded_with(share: float) -> None:
    torch.manual_seed(7)
    hidden = [torch.nn.Dropout(share)] if share else []
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), *hidden, torch.nn.Linear(8, 2)).eval()
    learner = build_learner(LearnerConfig("joint", compile="on"), model, LOSSES["mse"])
    meta = learner.init(parameters_of(model))
    batch = torch.randn(3, 5, 3), torch.randn(3, 5, 2), torch.ones(3, 5)
    assert learner.draws

    def gradient(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return learner.meta_gradient(meta, batch, batch, 0)[0]["param.0.weight"]

    first, again, other = gradient(1), gradient(1), gradient(2)
    assert torch.equal(first, again)
    assert learner.draws == (share > 0) == (not torch.equal(first, other))
    assert not model.training
    turned = tuple(part.transpose(0, 1).contiguous().transpose(0, 1) for part in batch)
    torch.manual_seed(1)
    assert torch.equal(learner.meta_gradient(meta, turned, turned, 0)[0]["param.0.weight"], first)
