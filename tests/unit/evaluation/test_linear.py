"""The pooled linear model against ridge and logistic regression of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from acclimate.evaluation import linear
from acclimate.evaluation.linear import PENALTIES, fit
from acclimate.tasks.episodes import Episodes, Examples

X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 2


@pytest.mark.parametrize("classes", [False, True])
def test_it_is_the_regression_of_the_field(classes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    y: Any = X @ torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]) + 1
    y = y.argmax(1) + (X[:, 2] > 3) if classes else y
    monkeypatch.setattr(linear, "pooled_rows", lambda train: (X, y))
    fitted = fit(train=None, outputs=3 if classes else 2, classes=classes)
    some = Examples(X.reshape(2, 100, 3), y.reshape(2, 100, *y.shape[1:]), torch.ones(2, 100))
    for penalty, setting in zip(PENALTIES, fitted.settings, strict=True):
        [told] = fitted.outputs(Episodes(some, some, ("a", "b")), setting)
        told = told.flatten(0, 1)
        if classes:
            known: Any = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(X, y)
            expected = known.predict_proba(X)
            assert told.softmax(1).numpy() == pytest.approx(expected, abs=2e-3)
        else:
            expected = Ridge(penalty).fit(X, y).predict(X)
            assert told.numpy() == pytest.approx(expected, abs=1e-3)


def test_an_input_that_never_varies_and_a_class_that_nobody_has_break_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.cat([X, torch.zeros(200, 1), X[:, :1]], 1)
    for y, classes in ((X.sum(1, keepdim=True), False), ((X[:, 0] > 2).long(), True)):
        monkeypatch.setattr(linear, "pooled_rows", lambda train, y=y: (x, y))
        fitted = fit(train=None, outputs=4 if classes else 1, classes=classes)
        assert all(np.isfinite(each.numpy()).all() for each in fitted.weights.values())
