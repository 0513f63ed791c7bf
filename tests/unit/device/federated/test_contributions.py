"""What a device gives to a campaign: moments, updates, and their integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate_device.federated import FixedPoint, client_update, clipped, moments, moments_size, unpacked
from tests.support.first_order import first_order

RNG = np.random.default_rng(0)


def test_moments_are_the_means_of_outer_products() -> None:
    phi, y, w = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2)), np.array([1, 1, 0, 2, 1, 1, 0.0])
    gram, products = unpacked(moments(phi, y, w), 3, 2)
    slow_gram = sum(weight * np.outer(f, f) for weight, f in zip(w, phi, strict=True)) / w.sum()
    slow_products = sum(weight * np.outer(f, t) for weight, f, t in zip(w, phi, y, strict=True)) / w.sum()
    np.testing.assert_allclose(gram, slow_gram, rtol=1e-12)
    np.testing.assert_allclose(products, slow_products, rtol=1e-12)
    assert not moments(phi, y, np.zeros(7)).any()
    with pytest.raises(ValueError, match="no moments of 3 features"):
        unpacked(np.zeros(moments_size(3, 2) + 1), 3, 2)


def test_of_an_example_alone_in_its_class_moments_tell_the_features() -> None:
    """As the page on learning together says: beside a class that no example has."""
    phi = RNG.normal(size=(12, 5))
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    labels = np.array([0] * 11 + [1])
    _, products = unpacked(moments(phi, np.eye(3)[labels] - 1 / 3), 5, 3)
    told = products[:, 1] - products[:, 2]
    np.testing.assert_allclose(told / np.linalg.norm(told), phi[-1], rtol=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.randoms())
def test_sums_of_integers_are_the_same_in_any_order(values: list[float], order: object) -> None:
    grid = FixedPoint(24)
    sent = [grid.rounded(np.array([value])).astype(np.int64) for value in values]
    total = grid.restored(sum(sent))
    order.shuffle(sent)  # type: ignore[attr-defined]
    assert grid.restored(sum(sent)) == total
    assert abs(total[0] - sum(values)) <= len(values) * 2.0**-25 + 1e-9


@pytest.mark.parametrize("value", [128.0, -129.0, np.nan, np.inf])
def test_what_does_not_fit_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="beyond 32 bits"):
        FixedPoint(24).rounded(np.array([0.0, value]))


def test_only_what_is_longer_is_shortened() -> None:
    vector = np.array([3.0, 4.0])
    short, norm = clipped(vector, 1.0)
    assert norm == 5.0
    np.testing.assert_allclose(short, [0.6, 0.8])
    assert clipped(vector, 5.0)[0] is vector


def test_an_update_of_a_quadratic_by_hand() -> None:
    """Loss (p - b)^2 / 2 has gradient p - b: a step at 0.5 halves the distance, two take 8 to 2."""

    def step(params: dict[str, np.ndarray], batch: float, number: int) -> dict[str, np.ndarray]:
        return {"p": params["p"] - 0.5 * (params["p"] - batch)}

    start = {"p": np.array([8.0])}
    assert client_update(start, {"p": np.array([2.0]), "fixed": np.array([1.0])}) == {"p": [6.0]}
    assert first_order(step, start, 0.0, 4.0, steps=2, rate=0.5)["p"] == [2.0 - 4.0]
