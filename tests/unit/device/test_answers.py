"""What experts answer, and the graphs between: as float64 says, from any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from acclimate_device.bundle import read_bundle
from acclimate_device.protocol import FEATURES, PARAMS
from acclimate_device.runtime.answers import Answers
from acclimate_device.runtime.session import Graph, open_session
from acclimate_device.runtime.tensors import parse
from acclimate_device.testing import tiny_bundle


def test_classes_are_told_apart_far_from_their_means() -> None:
    """Squared distances of 10,000 differ by ones: float32 alone would keep three of their digits."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(5, 300)).astype(np.float32)
    cov = (0.1 * np.eye(5) + 0.2).astype(np.float32)
    z = (6.0 * rng.normal(size=(3, 300))).astype(np.float32)
    prior = {"means.scale": -2.0, "means.power": 3.0, "means.bias": np.zeros(5), "temperature": 1.5}
    state = {"means.mean": mean, "means.cov": cov}
    made = Answers(
        ["means"], state, {name: np.asarray(each, np.float32) for name, each in prior.items()}, True
    )
    told = made.own(state, {"z": z})[0]
    distances = ((z.astype(float)[:, None] - mean) ** 2).sum(2)
    logits = -np.exp(-2.0) * distances / (1 + cov.diagonal().astype(float))
    expected = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
    np.testing.assert_allclose(told, expected - logits.max(1, keepdims=True), rtol=1e-6, atol=1e-6)


def features() -> Graph:
    bundle = read_bundle(tiny_bundle("closed-form").get)
    return Graph(open_session(bundle, FEATURES), parse(bundle.files[PARAMS]), ["x"], ["phi", "z"])


def test_a_graph_gives_each_thread_its_own() -> None:
    graph = features()
    xs = np.random.default_rng(1).normal(size=(200, 1, 3, 8)).astype(np.float32)
    expected = [graph.session.run(["phi", "z"], graph._fixed | {"x": x}) for x in xs]
    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in zip(threads.map(graph, xs), expected, strict=True):
            for mine, its in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, its)


def test_a_graph_takes_several_examples_before_and_after_one() -> None:
    graph = features()
    xs = np.random.default_rng(2).normal(size=(5, 3, 8)).astype(np.float32)
    several, one, again = graph(xs), graph(xs[:1]), graph(xs)
    for whole, first, same in zip(several, one, again, strict=True):
        np.testing.assert_array_equal(whole, same)
        np.testing.assert_allclose(whole[:1], first, rtol=1e-6, atol=1e-6)
    kept = [each.copy() for each in one]
    graph(xs[1:2])
    for mine, before in zip(one, kept, strict=True):
        np.testing.assert_array_equal(mine, before)


def test_a_graph_casts_nothing() -> None:
    graph = features()
    x = np.zeros((1, 3, 8), np.float32)
    graph(x)
    with pytest.raises(Exception, match="data type"):
        graph(x.astype(np.float64))
    with pytest.raises(Exception, match="dimension"):
        graph(x[:, :, :4])
