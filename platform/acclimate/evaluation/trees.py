"""Pooled gradient boosting on the same inputs: what a fleet gets without any network (Ke et al. 2017).

One ensemble for all devices, grown on training tasks by scikit-learn's histogram trees; it does not adapt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acclimate.evaluation.contenders import Setting, Start
from acclimate.evaluation.rows import as_rows, pooled_rows
from acclimate.tasks import Episodes, Sampler

OUTPUTS = 32  # real outputs, at most: each needs an ensemble of its own
ITERATIONS = (10, 30, 100)


@dataclass(frozen=True)
class PooledTrees:
    """Grown ensembles; made by `grow`.

    Attributes:
        ensembles: one for classes, or one for each real output.
        outputs_width: classes, or real outputs.
        classes: whether targets are class numbers.
    """

    ensembles: Sequence[Any]
    outputs_width: int
    classes: bool

    start: ClassVar[Start] = "trees"
    settings: ClassVar[Sequence[Setting]] = tuple({"iterations": count} for count in ITERATIONS)
    steps: ClassVar[tuple[int, ...]] = (0,)

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        x = episodes.query.x
        rows, count = as_rows(x.flatten(0, 1)).numpy(), int(setting["iterations"])
        answers = np.zeros((len(rows), self.outputs_width), dtype=np.float32)
        if self.classes:
            [ensemble] = self.ensembles
            answers[:, ensemble.classes_] = _at(ensemble.staged_predict_proba(rows), count)
        else:
            for output, ensemble in enumerate(self.ensembles):
                answers[:, output] = _at(ensemble.staged_predict(rows), count)
        return [torch.from_numpy(answers).reshape(*x.shape[:2], -1)]


def grow(train: Sampler, outputs: int, *, classes: bool, absolute: bool, seed: int) -> PooledTrees | None:
    """Ensembles grown on examples of the training tasks; None where they would take too long.

    Args:
        train: of the training tasks.
        outputs: classes, or real outputs.
        classes: whether targets are class numbers.
        absolute: lower the absolute error, as a start judged by it does, and not the squared one.
        seed: of ties between splits.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if not classes and outputs > OUTPUTS:
        return None
    x, y = (each.numpy() for each in pooled_rows(train))
    common = {"max_iter": max(ITERATIONS), "early_stopping": False, "random_state": seed}
    if classes:
        if len(np.unique(y)) < 2:
            return None
        return PooledTrees([HistGradientBoostingClassifier(**common).fit(x, y)], outputs, True)
    loss = "absolute_error" if absolute else "squared_error"
    grown = [
        HistGradientBoostingRegressor(loss=loss, **common).fit(x, y[:, output]) for output in range(outputs)
    ]
    return PooledTrees(grown, outputs, False)


def _at(stages: Any, count: int) -> npt.NDArray[Any]:
    """The answer after `count` iterations."""
    return next(answer for number, answer in enumerate(stages, start=1) if number == count)
