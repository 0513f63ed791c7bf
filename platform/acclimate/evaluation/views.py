"""What tells classes apart in windows of unseen devices: their spectrum, their levels, or both.

Asked before a body is chosen, in seconds: no network is trained. On each held-out device class means of a few
support windows classify later windows, in the metric that other devices' windows have within a class (linear
discriminant analysis, its covariance shrunk). The figures are balanced accuracies, meant to be compared with
one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from acclimate.initialization import ModelSpec
from acclimate.models import build
from acclimate.tasks import EpisodePlan, Examples, TaskPool
from acclimate.tasks.episodes import Indices

View = Literal["spectrum", "levels", "both"]
Floats = npt.NDArray[np.float64]

DEVICES = 12
"""Groups held out in turn, at most."""
SHRINKAGE = 0.3
GAIN = 0.02
"""What levels have to add before they are taken: gains differ between sensors for no reason."""


@dataclass(frozen=True)
class Evidence:
    """Balanced accuracy on held-out groups, by view: the mean over groups.

    Attributes:
        groups: how many were held out, each once.
        accuracy: by view.
    """

    groups: int
    accuracy: Mapping[View, float]

    @property
    def spectral(self) -> bool:
        """Whether the spectrum tells more than levels do."""
        return self.accuracy["spectrum"] > self.accuracy["levels"]

    @property
    def level(self) -> bool:
        """Whether levels add to the spectrum."""
        return self.accuracy["both"] > self.accuracy["spectrum"] + GAIN


def compare_views(pool: TaskPool, tasks: Indices) -> Evidence | None:
    """Compare views of windows with classes; None where there are too few groups, classes or windows."""
    groups = np.array(pool.groups)
    looked_at = sorted(set(groups[tasks]))[: 2 * DEVICES]
    tasks = tasks[np.isin(groups[tasks], looked_at)]
    if len(pool.schema.labels) < 2 or len(looked_at) < 3:
        return None
    normalization = pool.normalization(tasks)
    found: dict[View, list[Floats]] = {}
    for number in (1, 5):
        plan = EpisodePlan(shots=number, query_shots=15)
        episodes = pool.sampler(tasks, plan, normalization, 0).every_task()
        owner = groups[[pool.index(task) for task in episodes.task_ids]]
        for view, features in _views(pool.input_shape).items():
            seen = _features(features, episodes.support), _features(features, episodes.query)
            found.setdefault(view, []).append(_by_group(owner, *seen))
    return Evidence(
        min(DEVICES, len(looked_at)),
        {view: float(np.mean([each.mean() for each in values])) for view, values in found.items()},
    )


def _views(shape: tuple[int, ...]) -> dict[View, Callable[[torch.Tensor], torch.Tensor]]:
    """Functions of windows `(examples, channels, samples)`."""
    bodies = {
        level: build(ModelSpec("spectral", shape, 2, {"hidden": [], "level": level})).get_submodule("body")
        for level in (False, True)
    }

    def levels(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(-1), (x.std(-1) + 1e-4).log()], -1)

    return {"spectrum": bodies[False], "levels": levels, "both": bodies[True]}


class _Seen:
    """Features `(tasks, examples, d)`, classes and which examples count."""

    def __init__(self, x: Floats, y: npt.NDArray[np.int64], counts: npt.NDArray[np.bool_]) -> None:
        self.x, self.y, self.counts = x, y, counts

    def of(self, task: int, label: int) -> Floats:
        return self.x[task][(self.y[task] == label) & self.counts[task]]


def _features(view: Callable[[torch.Tensor], torch.Tensor], examples: Examples) -> _Seen:
    with torch.no_grad():
        flat = [view(one).double().numpy() for one in examples.x]
    return _Seen(np.stack(flat), examples.y.numpy(), examples.w.numpy() > 0)


def _by_group(owner: npt.NDArray[np.str_], support: _Seen, query: _Seen) -> Floats:
    """Balanced accuracy on each held-out group."""
    accuracy = []
    for group in sorted(set(owner))[:DEVICES]:
        others, own = np.flatnonzero(owner != group), np.flatnonzero(owner == group).tolist()
        metric = _metric(support, query, others)
        accuracy.append(np.mean([_accuracy(metric, support, query, task) for task in own]))
    return np.array(accuracy)


def _metric(support: _Seen, query: _Seen, tasks: npt.NDArray[np.int64]) -> Floats:
    """The map under which windows of one class of one device scatter alike in every direction."""
    labels = range(int(max(support.y.max(), query.y.max())) + 1)
    cells = [
        np.concatenate([support.of(task, label), query.of(task, label)]) for task in tasks for label in labels
    ]
    spread = np.concatenate(cells).std(0) + 1e-6
    scatter = np.concatenate([cell - cell.mean(0) for cell in cells if len(cell)]) / spread
    covariance = scatter.T @ scatter / len(scatter)
    size = len(covariance)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / size * np.eye(size)
    whitened: Floats = np.linalg.inv(np.linalg.cholesky(shrunk)).T / spread[:, None]
    return whitened


def _accuracy(metric: Floats, support: _Seen, query: _Seen, task: int) -> float:
    """Balanced over the classes that the device showed and that are asked of it."""
    known = [label for label in map(int, np.unique(support.y[task])) if len(support.of(task, label))]
    means = np.stack([(support.of(task, label) @ metric).mean(0) for label in known])
    recalls = []
    for place, label in enumerate(known):
        asked = query.of(task, label) @ metric
        if len(asked):
            distance = ((asked[:, None] - means) ** 2).sum(-1)
            recalls.append(float((distance.argmin(1) == place).mean()))
    return float(np.mean(recalls))
