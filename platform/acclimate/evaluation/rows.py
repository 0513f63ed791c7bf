"""Examples of all training tasks as rows of numbers, for rivals that are one model for the whole fleet."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.tasks import Sampler
from acclimate.tasks.episodes import Examples

ROWS = 6_000  # examples to fit, at most
WIDTH = 256  # inputs of an example, at most: longer ones are averaged over neighbouring samples
_MEETINGS = 40  # meta-batches drawn to fill ROWS
_TASKS = 64  # tasks a meta-batch


def pooled_rows(train: Sampler) -> tuple[Tensor, Tensor]:
    """Up to `ROWS` inputs `(examples, width)` and targets, support and query alike, spread over the tasks."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for step in range(_MEETINGS):
        episodes = train.episodes(step, range(_TASKS))
        for part in (episodes.support, episodes.query):
            x, y = _present(part)
            xs.append(x)
            ys.append(y)
        if sum(map(len, xs)) >= ROWS:
            break
    return torch.cat(xs)[:ROWS], torch.cat(ys)[:ROWS]


def as_rows(x: Tensor) -> Tensor:
    """Inputs `(examples, *input)` as rows; long windows are averaged down to `WIDTH` numbers."""
    width = x[0].numel() if len(x) else 0
    if width <= WIDTH:
        return x.flatten(1)
    channels = x.shape[1] if x.dim() > 2 else 1
    each = max(1, WIDTH // channels)
    return torch.nn.functional.adaptive_avg_pool1d(x.reshape(len(x), channels, -1), each).flatten(1)


def _present(part: Examples) -> tuple[Tensor, Tensor]:
    here = part.w.flatten() > 0
    return as_rows(part.x.flatten(0, 1)[here]), part.y.flatten(0, 1)[here]
