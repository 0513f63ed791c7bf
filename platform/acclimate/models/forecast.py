"""The forecast body: what was lately and a season ago, each window brought to its own level and scale.

Devices of a fleet differ in level and scale more than in shape, and a device's own level drifts; so the
network sees each window less its mean m and over its deviation s, and answers in those units:

    forecast = m + s * (z_last + linear(inputs) + head(body(inputs)))

with z the window so brought, z_last its latest value, and linear and head zero at first: before the first
step it forecasts "no change". The inputs are z, the calendar of the latest moment, and m and s in fleet
units, so that nothing is lost. Reversible instance normalization (Kim et al. 2022) with a linear part beside
the network (Zeng et al. 2023, https://arxiv.org/abs/2205.13504); a deviation is never below a tenth of the
fleet's usual one, or a window that stands still would be divided by nothing.

Several targets share one network, which is told the target: each is forecast from its own window, and from
the latest values of every other channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.mlp import ACTIVATIONS

FLOOR = 0.1
"""Least deviation of a window, as a share of the fleet's usual one."""
BESIDE = 4
"""Latest values that are seen of each channel that is not forecast itself."""


class Forecast(nn.Module):
    """Windows `(examples, channels, time)` to forecasts `(examples, leads * targets)`, lead by lead.

    Args:
        channels, time: of a window; the latest value comes last.
        leads: steps ahead that are forecast.
        targets: positions of the channels that are forecast; the outputs are in their units.
        calendar: how many of the last channels tell the calendar.
        hidden: widths of the network's layers.
        dropout: share of hidden values that training leaves out.
        activation: `relu`, `silu` or `tanh`.
    """

    def __init__(
        self,
        channels: int,
        time: int,
        leads: int,
        targets: Sequence[int],
        calendar: int,
        hidden: Sequence[int],
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.leads, self.targets, self.calendar = leads, tuple(targets), calendar
        self.recorded = channels - calendar
        self.beside = min(BESIDE, time) if self.recorded > 1 else 0
        many = len(targets) if len(targets) > 1 else 0
        width = time + calendar + 2 + self.recorded * (self.beside + 1 if self.beside else 0) + many
        self.floor = nn.Parameter(torch.tensor(FLOOR))
        self.linear = nn.Linear(width, leads)
        layers: list[nn.Module] = []
        for narrow, wide in zip((width, *hidden), hidden, strict=False):
            layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden[-1], leads)
        for last in (self.linear, self.head):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        level, scale, window = self.normalized(x)
        inputs = self.inputs(x, level, scale, window)
        change = self.linear(inputs) + self.head(self.body(inputs))
        forecast = level + scale * (window[..., -1:] + change)
        return forecast.transpose(-1, -2).flatten(-2)

    def normalized(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level and scale of each target's window, `(examples, targets, 1)`, and the window in them."""
        targets = torch.stack([x[..., at, :] for at in self.targets], -2)
        level = targets.mean(-1, keepdim=True)
        window = targets - level
        scale = (window.square().mean(-1, keepdim=True) + self.floor.detach().square()).sqrt()
        return level, scale, window / scale

    def inputs(self, x: Tensor, level: Tensor, scale: Tensor, window: Tensor) -> Tensor:
        """What the network sees for each target, `(examples, targets, width)`."""
        parts = [window, level, scale]
        shared = []
        if self.calendar:
            shared.append(x[..., self.recorded :, -1])
        if self.beside:
            recorded = x[..., : self.recorded, :]
            shared += [recorded[..., -self.beside :].flatten(-2), recorded.mean(-1)]
        for part in shared:
            parts.append(part.unsqueeze(-2).expand(*window.shape[:-1], part.shape[-1]))
        if len(self.targets) > 1:
            which = torch.eye(len(self.targets), dtype=x.dtype, device=x.device)
            parts.append(which.expand(*window.shape[:-1], len(self.targets)))
        return torch.cat(parts, -1)

    def units(self, x: Tensor) -> Tensor:
        """The scale of each output's window, `(examples, leads * targets)`: errors count by it."""
        _, scale, _ = self.normalized(x)
        return scale.expand(*scale.shape[:-1], self.leads).transpose(-1, -2).flatten(-2)

    def calibrate(self, windows: Tensor) -> None:
        """Set the least deviation from windows of the fleet, `(examples, channels, time)`."""
        targets = torch.stack([windows[:, at, :] for at in self.targets], 1)
        usual = targets.std(-1, correction=0)
        varying = usual[usual > 0]
        if len(varying):
            with torch.no_grad():
                self.floor.copy_(FLOOR * varying.median())


def forecast(
    input_shape: Sequence[int],
    outputs: int,
    *,
    targets: Sequence[int] = (0,),
    calendar: int = 0,
    hidden: Sequence[int] = (64, 64),
    dropout: float = 0.2,
    activation: str = "relu",
) -> Forecast:
    """A forecast of `targets`, positions of channels, from a window of shape `(channels, time)`.

    Args:
        targets: which channels are forecast; a recipe's follow from its data.
        calendar: how many of the last channels are inputs of the calendar; a recipe's follow from its data.

    Raises:
        ModelError: not a window, no such channel or activation, or `outputs` are not the targets' leads.
    """
    if len(input_shape) != 2:
        raise ModelError(
            f"model forecast takes windows of shape (channels, time), not {tuple(input_shape)}: declare "
            "`window` or `seasons`"
        )
    channels, time = input_shape
    if activation not in ACTIVATIONS:
        raise ModelError(f"forecast: activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
    if not hidden or not 0 <= dropout < 1:
        raise ModelError(
            f"forecast: hidden is {hidden} and dropout {dropout}: name a layer, and drop below all"
        )
    if not targets or not all(0 <= at < channels - calendar for at in targets):
        raise ModelError(
            f"forecast: targets are {list(targets)} of {channels - calendar} recorded channels: a forecast "
            "goes on from the past of its target, so let each target be among `channels`"
        )
    if outputs % len(targets):
        raise ModelError(f"forecast: {outputs} outputs, no whole number of leads of {len(targets)} targets")
    leads = outputs // len(targets)
    return Forecast(channels, time, leads, targets, calendar, hidden, dropout, activation)
