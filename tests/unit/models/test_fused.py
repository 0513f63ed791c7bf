"""The fused operator against torch's own, and both its derivatives against finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.models import native
from acclimate.models.fused import norm_relu_pool
from acclimate.models.norm import EPSILON

pytestmark = pytest.mark.skipif(
    not native.compiler_found(), reason="no C compiler: the fused operator is not used on such machines"
)


def scene(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    u = 5 + torch.randn(3, 4, height, width, dtype=dtype)
    return tuple(t.requires_grad_() for t in (u, torch.randn(4, dtype=dtype), torch.randn(4, dtype=dtype)))


def reference(u: Tensor, weight: Tensor, bias: Tensor, window: tuple[int, int]) -> Tensor:
    normal = F.batch_norm(u, None, None, training=True, eps=EPSILON)
    return F.max_pool2d((normal * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)).relu(), window)


@pytest.mark.parametrize(
    ("height", "width", "window"), [(4, 6, (2, 2)), (5, 7, (2, 2)), (1, 9, (1, 2)), (3, 2, (1, 1))]
)
def test_agrees_with_torch_and_finite_differences(height: int, width: int, window: tuple[int, int]) -> None:
    inputs = scene(height, width)
    torch.testing.assert_close(norm_relu_pool(*inputs, window), reference(*inputs, window))
    assert torch.autograd.gradcheck(lambda *a: norm_relu_pool(*a, window), inputs)
    assert torch.autograd.gradgradcheck(lambda *a: norm_relu_pool(*a, window), inputs)


def test_float32_keeps_its_precision_far_from_zero() -> None:
    u, weight, bias = (t.detach() for t in scene(28, 28, torch.float32))
    u = 1000 + u
    expected = reference(*(t.double() for t in (u, weight, bias)), (2, 2))
    torch.testing.assert_close(norm_relu_pool(u, weight, bias, (2, 2)).double(), expected, rtol=0, atol=2e-3)


def test_ties_and_dead_units_follow_torch() -> None:
    u = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    u[0, 0, :2, :2] = 1.0
    u.requires_grad_()
    weight, bias = (
        torch.tensor(
            [
                2.0,
            ],
            dtype=torch.float64,
        ),
        torch.tensor([0.1], dtype=torch.float64),
    )
    ours, theirs = (f(u, weight, bias, (2, 2)) for f in (norm_relu_pool, reference))
    for found, expected in zip(
        *(torch.autograd.grad(p.square().sum(), [u]) for p in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_nan_is_not_hidden() -> None:
    u, weight, bias = (t.detach() for t in scene(4, 4))
    u[0, 1, 0, 0] = torch.nan
    pooled = norm_relu_pool(u, weight, bias, (2, 2))
    assert pooled[:, 1].isnan().all()
    assert pooled[:, 0].isfinite().all()


def test_a_missing_or_broken_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.NoCompilerError, match="install gcc or clang"):
        native.kernel.__wrapped__()
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(native.NoCompilerError, match="out of memory"):
        native.kernel.__wrapped__()
