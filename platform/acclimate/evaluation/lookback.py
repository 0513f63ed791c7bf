"""How far back a number that is to be told from other columns reaches into their past, by evidence.

Asked before a window is chosen, in seconds: no network is trained. Small pooled tree ensembles tell the
target from the levels of the latest rows, fewer or more of them, on devices that they were not grown on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from acclimate.models.levels import Levels
from acclimate.tasks import EpisodePlan, TaskPool
from acclimate.tasks.episodes import Indices

FOLDS = 3
_EXAMPLES = 64  # of each half of a device
_DEVICES = 24
_TREES = 30
_ALIKE = 0.02  # of the error: less does not pay for more rows


@dataclass(frozen=True)
class Lookback:
    """Mean absolute error on devices held out, in standard deviations of the target, by rows looked at."""

    errors: Mapping[int, float]

    @property
    def rows(self) -> int:
        """The fewest that are as good as any."""
        best = min(self.errors.values())
        return min(rows for rows, error in self.errors.items() if error <= (1 + _ALIKE) * best)


def compare_lookbacks(pool: TaskPool, tasks: Indices) -> Lookback | None:
    """Compare windows up to the pool's own; None where there are too few groups of tasks."""
    groups = np.array(pool.groups)
    looked_at = sorted(set(groups[tasks]))[:_DEVICES]
    if len(looked_at) < FOLDS or len(pool.input_shape) != 2:
        return None
    tasks = tasks[np.isin(groups[tasks], looked_at)]
    plan = EpisodePlan(shots=_EXAMPLES, query_shots=_EXAMPLES)
    episodes = pool.sampler(tasks, plan, pool.normalization(tasks), 0).every_task()
    owner = groups[[pool.index(task) for task in episodes.task_ids]]
    x, y, w = (torch.cat(halves, 1) for halves in zip(episodes.support, episodes.query, strict=True))
    kept = w.flatten() > 0
    fold = np.searchsorted(looked_at, np.repeat(owner, w.shape[1]))[kept.numpy()] % FOLDS
    windows, targets = x.flatten(0, 1)[kept], y.flatten(0, 1)[kept].numpy()
    span = windows.shape[-1]
    tried = sorted({1, *(rows for rows in (4, 16, 64) if rows < span), span})
    return Lookback({rows: _error(_levels(windows[..., -rows:]), targets, fold) for rows in tried})


def _levels(windows: torch.Tensor) -> npt.NDArray[np.float32]:
    last_alone = windows.shape[-1] == 1
    made: npt.NDArray[np.float32] = (windows[..., -1] if last_alone else Levels()(windows)).numpy()
    return made


def _error(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], fold: npt.NDArray[np.int64]) -> float:
    from sklearn.ensemble import ExtraTreesRegressor

    errors = []
    for out in range(FOLDS):
        away = fold == out
        for target in range(y.shape[1]):
            trees = ExtraTreesRegressor(_TREES, min_samples_leaf=3, n_jobs=1, random_state=0)
            told = trees.fit(x[~away], y[~away, target]).predict(x[away])
            errors.append(float(np.abs(told - y[away, target]).mean()))
    return float(np.mean(errors))
