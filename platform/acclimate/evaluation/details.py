"""What one figure hides: errors in the user's own units, recall of each class, macro F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acclimate.tasks import Episodes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """What outputs mean to people.

    Attributes:
        labels: class names in the order of the outputs; empty where they differ from episode to episode.
        targets: names of the real targets; empty for classes. A forecast's outputs run step by step.
        scales: what one unit of each normalized target is in the target's own unit.
        leads: rows ahead of a forecast's steps; empty elsewhere.
    """

    labels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    leads: tuple[int, ...] = ()


def details_of(outputs: Sequence[Tensor], episodes: Sequence[Episodes], words: Words) -> dict[str, float]:
    """Further figures of a contender, means over tasks, by name.

    Classes: `balanced_accuracy`, `macro_f1` and `recall.<label>`. Real targets: `mae.<target>` and
    `rmse.<target>`, in the target's unit, and of a forecast over several rows `ahead.<rows>.<target>`, the
    mean absolute error so many rows ahead.

    Args:
        outputs: for the queries of each of `episodes`.
    """
    if episodes[0].query.y.is_floating_point():
        return _errors(outputs, episodes, words) if words.targets else {}
    confusion = sum(_confusion(one, each) for one, each in zip(outputs, episodes, strict=True))
    return _of_classes(np.asarray(confusion), words)


def _confusion(outputs: Tensor, episodes: Episodes) -> Floats:
    """Weights by task, true class and answer, `(tasks, classes, classes)`."""
    _, y, w = episodes.query
    tasks, classes = outputs.shape[0], outputs.shape[-1]
    place = (torch.arange(tasks).unsqueeze(1) * classes + y) * classes + outputs.argmax(-1)
    counts = np.bincount(place.flatten().numpy(), w.flatten().double().numpy(), tasks * classes**2)
    return counts.astype(np.float64).reshape(tasks, classes, classes)


def _of_classes(confusion: Floats, words: Words) -> dict[str, float]:
    hits = np.einsum("tcc->tc", confusion)
    asked, answered = confusion.sum(2), confusion.sum(1)
    present = asked > 0
    recall = np.divide(hits, asked, out=np.zeros_like(hits), where=present)
    f1 = np.divide(2 * hits, asked + answered, out=np.zeros_like(hits), where=present)
    classes = np.maximum(present.sum(1), 1)
    figures = {
        "balanced_accuracy": float((recall.sum(1) / classes).mean()),
        "macro_f1": float((f1.sum(1) / classes).mean()),
    }
    for number, label in enumerate(words.labels):
        having = present[:, number]
        if having.any():
            figures[f"recall.{label}"] = float(recall[having, number].mean())
    return figures


def _errors(outputs: Sequence[Tensor], episodes: Sequence[Episodes], words: Words) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for one, each in zip(outputs, episodes, strict=True):
        _, y, w = each.query
        count = w.double().sum(1).clamp(min=1)
        error = (one.double() - y.double()).reshape(*y.shape[:2], -1, len(words.targets))
        for number, (name, scale) in enumerate(zip(words.targets, words.scales, strict=True)):
            of_target = error[..., number] * scale
            absolute = (of_target.abs().mean(-1) * w).sum(1) / count
            squared = (of_target.square().mean(-1) * w).sum(1) / count
            for at, lead in enumerate(words.leads if len(words.leads) > 1 else ()):
                of_lead = (of_target[..., at].abs() * w).sum(1) / count
                sums.setdefault(f"ahead.{lead}.{name}", []).append(float(of_lead.mean()))
            sums.setdefault(f"mae.{name}", []).append(float(absolute.mean()))
            sums.setdefault(f"rmse.{name}", []).append(float(squared.sqrt().mean()))
    return {name: float(np.mean(values)) for name, values in sums.items()}


def worst_recall(details: Mapping[str, float]) -> tuple[str, float] | None:
    """The class that is missed most often, with its recall."""
    recalls = {
        key.removeprefix("recall."): value for key, value in details.items() if key.startswith("recall.")
    }
    return min(recalls.items(), key=lambda each: each[1], default=None)
