from __future__ import annotations

import pytest
import torch
from torch import nn

from acclimate.errors import ModelError
from acclimate.initialization import ModelSpec
from acclimate.models import Network, build

SPECS = [
    ModelSpec("mlp", (6,), 2),
    ModelSpec("mlp", (3, 10), 4, {"hidden": [8], "activation": "tanh"}),
    ModelSpec("conv1d", (6, 100), 7),
    ModelSpec("conv1d", (6, 5), 7, {"norm": "none", "readout": "flatten"}),
    ModelSpec("conv4", (1, 28, 28), 5, {"filters": 8}),
    ModelSpec("gru", (6, 12), 3),
    ModelSpec("spectral", (3, 100), 4, {"level": True}),
    ModelSpec("spectral", (1, 64), 2, {"hidden": []}),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name}{spec.input_shape}")
def test_same_seed_same_model_and_finite_outputs(spec: ModelSpec) -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(4)
        model = build(spec)
        assert isinstance(model, Network)
        outputs.append(model(torch.ones(3, *spec.input_shape)))
    assert outputs[0].shape == (3, spec.outputs)
    assert torch.equal(*outputs)
    assert outputs[0].isfinite().all()


def test_group_norm_predicts_each_window_on_its_own_and_batch_norm_does_not() -> None:
    x = torch.randn(4, 2, 16)
    for norm, alone in (("group", True), ("batch", False)):
        model = build(ModelSpec("conv1d", (2, 16), 3, {"norm": norm}))
        assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5) is alone


def test_gru_agrees_with_torch() -> None:
    model = build(ModelSpec("gru", (3, 7), 2, {"hidden": 5}))
    theirs = nn.GRU(3, 5, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(model.body.inputs.weight)
        theirs.bias_ih_l0.copy_(model.body.inputs.bias)
        theirs.weight_hh_l0.copy_(model.body.recurrent.weight)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(4, 3, 7)
    torch.testing.assert_close(model.body(x), theirs(x.transpose(1, 2))[0][:, -1])


class Running(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(input_shape[0], outputs), nn.BatchNorm1d(outputs))


def own(input_shape: tuple[int, ...], outputs: int, width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(input_shape[0], width), nn.Linear(width, outputs))


def test_a_users_own_model_by_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "their_models", sys.modules[__name__])
    model = build(ModelSpec("their_models:own", (4,), 2, {"width": 9}))
    assert model(torch.ones(1, 4)).shape == (1, 2)
    for name, words in (("own", "no option 'widht': did you mean 'width'"), ("Running", "no option")):
        with pytest.raises(ModelError, match=words):
            build(ModelSpec(f"their_models:{name}", (4,), 2, {"widht": 9}))
    with pytest.raises(ModelError, match="running statistics"):
        build(ModelSpec("their_models:Running", (4,), 2))
    with pytest.raises(ModelError, match="not something to call"):
        build(ModelSpec("their_models:SPECS", (4,), 2))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelSpec("cov1d", (6, 100), 7), "did you mean 'conv1d'"),
        (ModelSpec("conv1d", (6,), 7), r"inputs of shape \(channels, time\)"),
        (ModelSpec("conv1d", (6, 100), 7, {"kernel": 4}), "odd width"),
        (ModelSpec("conv1d", (6, 100), 7, {"norm": "layer"}), "batch, group or none"),
        (ModelSpec("mlp", (6,), 2, {"hiden": [3]}), "did you mean 'hidden'"),
        (ModelSpec("mlp", (6,), 2, {"hidden": ["a"]}), "cannot be built"),
        (ModelSpec("mlp", (6,), 2, {"activation": "rleu"}), "relu, silu, tanh"),
        (ModelSpec("no.such:thing", (6,), 2), "cannot be imported"),
    ],
)
def test_a_wrong_model_is_refused_with_a_remedy(spec: ModelSpec, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build(spec)
