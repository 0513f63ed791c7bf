"""What needs no meta-learning and often suffices: rivals a start has to beat before it is worth shipping.

None of them adapts by gradient steps; each answers the queries of an episode from its support at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.evaluation.contenders import Setting, Start
from acclimate.evaluation.naive import PERSISTENCE, Forecast, naive_forecasts
from acclimate.initialization import InputSchema, Normalization
from acclimate.tasks import Episodes

Features = Callable[[Tensor], Tensor]
"""Inputs `(tasks, examples, *input)` to features `(tasks, examples, width)`."""


@dataclass(frozen=True)
class Nearest:
    """The answer of the nearest support examples, by distance between features.

    Attributes:
        features: of the joint model's body; the inputs themselves where there is no joint model.
        outputs_width: classes, or real outputs.
    """

    features: Features
    outputs_width: int
    classes: bool

    start: ClassVar[Start] = "nearest"
    settings: ClassVar[Sequence[Setting]] = tuple({"neighbours": count} for count in (1, 3, 5))
    steps: ClassVar[tuple[int, ...]] = (0,)

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        x, y, w = episodes.support
        distances = torch.cdist(self.features(episodes.query.x), self.features(x))
        distances = distances.masked_fill(w.unsqueeze(1) == 0, torch.inf)
        count = min(int(setting["neighbours"]), distances.shape[-1])
        near = distances.topk(count, largest=False)
        known = F.one_hot(y, self.outputs_width).float() if self.classes else y
        task = torch.arange(len(known)).reshape(-1, 1, 1)
        # The nearest weighs a little more, so that among classes met equally often it decides.
        weight = torch.isfinite(near.values) * (1 + 1e-3 / (1 + torch.arange(count)))
        total = weight.sum(-1, keepdim=True).clamp(min=1e-9)
        return [(known[task, near.indices] * weight.unsqueeze(-1)).sum(2) / total]


@dataclass(frozen=True)
class OfSupport:
    """One answer for all of a device's queries: the commonest class of its support, or one number."""

    outputs_width: int
    classes: bool

    start: ClassVar[Start] = "support"
    steps: ClassVar[tuple[int, ...]] = (0,)

    @property
    def settings(self) -> Sequence[Setting]:
        return ({"value": "commonest"},) if self.classes else ({"value": "mean"}, {"value": "median"})

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        _, y, w = episodes.support
        weight = w.unsqueeze(-1)
        if self.classes:
            one = (F.one_hot(y, self.outputs_width) * weight).sum(1)
        elif setting["value"] == "mean":
            one = (y * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        else:
            one = torch.nan_to_num(y.masked_fill(weight == 0, torch.nan).nanmedian(1).values)
        return [one.unsqueeze(1).expand(-1, episodes.query.x.shape[1], -1)]


@dataclass(frozen=True)
class Naive:
    """A forecast without a model: the latest value, or the value a season ago.

    Attributes:
        forecasts: by name, of normalized inputs, in the units of their channels.
        scale: from a channel's normalized units to its target's, for every output.
        shift: to be added then.
    """

    start: Start
    forecasts: Mapping[str, Forecast]
    scale: Tensor
    shift: Tensor

    steps: ClassVar[tuple[int, ...]] = (0,)

    @property
    def settings(self) -> Sequence[Setting]:
        return tuple({"value": name} for name in self.forecasts)

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        value = self.forecasts[str(setting["value"])](episodes.query.x)
        return [value * self.scale + self.shift]


def naive_rivals(schema: InputSchema, normalization: Normalization, outputs: int) -> list[Naive]:
    """The forecasts without a model that these inputs allow."""
    found = naive_forecasts(schema)
    if not found:
        return []
    channels = [schema.channels.index(target) for target in schema.targets]
    mean, scale = (
        torch.tensor([part[channel] for channel in channels])
        for part in (normalization.mean, normalization.scale)
    )
    wide = outputs // len(channels)  # outputs run lead by lead; scales come by target or by output
    target_mean, target_scale = (
        torch.tensor(part if len(part) == outputs else part * wide)
        for part in (normalization.target_mean, normalization.target_scale)
    )
    factor, shift = scale.repeat(wide) / target_scale, (mean.repeat(wide) - target_mean) / target_scale
    last = {PERSISTENCE: found[PERSISTENCE]}
    seasons = {name: forecast for name, forecast in found.items() if name != PERSISTENCE}
    rivals = [Naive("persistence", last, factor, shift)]
    return rivals + ([Naive("seasonal", seasons, factor, shift)] if seasons else [])


def flat_features(x: Tensor) -> Tensor:
    """The inputs themselves as features."""
    return x.flatten(2)
