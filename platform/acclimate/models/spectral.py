"""A spectral front end and a small network on top, for signals sampled fast: vibration, sound, current.

What tells one state of a machine from another is how its signal's power lies over frequency, and seldom where
in its period the window happened to begin. So the front end sees, of each window of each channel,

- the logarithm of its power in even bands of frequency, after the window was brought to mean 0 and
  deviation 1: gains of sensors and mountings fall away;
- the same of its envelope (the rectified window), at low frequencies alone: how often impacts repeat,
  whatever they ring (Randall and Antoni 2011, "Rolling element bearing diagnostics", section 4);
- with `level`, what that standardization took away: mean, log deviation, and the log kurtosis beside them.

The discrete Fourier transform is written as two small matrix products with a twist between them (Cooley and
Tukey 1965), so that it exports to plain operators: a window of 2048 takes 0.27 M multiply-adds and 40 kB of
constants in place of 4.2 M and 16.8 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.beside import beside
from acclimate.models.network import Network

FEATURES = 192
"""Bands of all channels together unless the recipe says otherwise: a device's head stays small."""
FLOOR = 1e-4
"""Power below this is silence; a window has power 1 spread over its bins."""
_QUIET = 1e-12


class Power(nn.Module):
    """Power by frequency, `(..., samples)` to `(..., samples // 2)`: bins 1 to half the padded window.

    Windows that are no product of two whole numbers near their root are padded with zeros to the next one.
    """

    first: Tensor
    turn_real: Tensor
    turn_imaginary: Tensor
    second: Tensor
    order: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.rows, self.columns = _factors(samples)
        self.samples, self.padded = samples, self.rows * self.columns
        half = self.rows // 2 + 1  # the other half mirrors it, for the window is real
        row, column = torch.arange(half).double(), torch.arange(self.columns).double()
        first = _angles(torch.arange(self.rows).double(), row, self.rows)
        turn = _angles(column, row, self.padded)
        cosine, sine = (part(_angles(column, column, self.columns)) for part in (torch.cos, torch.sin))
        self._constant("first", torch.cat([first.cos(), -first.sin()], 1))
        self._constant("turn_real", turn.cos())
        self._constant("turn_imaginary", -turn.sin())
        self._constant("second", torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)]))
        self.register_buffer("order", _order(self.rows, self.columns), persistent=False)

    @property
    def bins(self) -> int:
        return self.padded // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.padded > self.samples:
            x = torch.cat([x, torch.zeros_like(x[..., : self.padded - self.samples])], -1)
        grid = x.reshape(*x.shape[:-1], self.rows, self.columns).transpose(-1, -2)
        real, imaginary = _product(grid, self.first).chunk(2, -1)
        turned = [
            real * self.turn_real - imaginary * self.turn_imaginary,
            real * self.turn_imaginary + imaginary * self.turn_real,
        ]
        spectrum = _product(torch.cat(turned, -2).transpose(-1, -2), self.second)
        real, imaginary = spectrum.chunk(2, -1)
        power = (real * real + imaginary * imaginary).flatten(-2) / self.samples
        return power.index_select(-1, self.order)

    def _constant(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float(), persistent=False)


class SpectralFront(nn.Module):
    """Features of each window, `(examples, channels, samples)` to `(examples, features)`; see the module.

    A learned shift and scale of each feature follows; `calibrate` sets them from windows of the fleet.
    """

    def __init__(self, channels: int, samples: int, bands: int, envelope: int, level: bool) -> None:
        super().__init__()
        self.power = Power(samples)
        self.bands, self.envelope, self.level = bands, envelope, level
        self.features = channels * (bands + envelope + (3 if level else 0))
        self.shift = nn.Parameter(torch.zeros(self.features))
        self.scale = nn.Parameter(torch.ones(self.features))

    def measured(self, x: Tensor) -> Tensor:
        """The features before shift and scale, `(examples, features)`; such features are left as they are."""
        if x.dim() == 2:
            return x
        mean = x.mean(-1, keepdim=True)
        centred = x - mean
        deviation = (centred.square().mean(-1, keepdim=True) + _QUIET).sqrt()
        window = centred / deviation
        signals = [window]
        if self.envelope:
            signals.append(_standard(window.abs()))
        power = self.power(torch.stack(signals, -3)).unbind(-3)
        parts = [(_banded(power[0], self.bands) + FLOOR).log()]
        if self.envelope:
            parts.append((power[1][..., : self.envelope] + FLOOR).log())
        if self.level:
            kurtosis = window.square().square().mean(-1, keepdim=True)
            parts += [mean, (deviation + FLOOR).log(), (kurtosis + FLOOR).log()]
        return torch.cat(parts, -1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        return (self.measured(x) + self.shift) * self.scale

    def calibrate(self, windows: Tensor) -> None:
        """Let every feature have mean 0 and deviation 1 over `windows`, `(examples, channels, samples)`."""
        with torch.no_grad():
            features = self.measured(windows)
            self.shift.copy_(-features.mean(0))
            self.scale.copy_(1.0 / features.std(0).clamp_min(0.1))


def spectral(
    input_shape: Sequence[int],
    outputs: int,
    *,
    bands: int | None = None,
    envelope: int | None = None,
    level: bool = False,
    hidden: Sequence[int] = (32,),
    activation: str = "relu",
) -> Network:
    """Log power by frequency and a small network, for windows of shape `(channels, samples)`.

    Args:
        bands: even bands of frequency of each channel; by default as many as make 192 features with those of
            the envelope, at most 128 and no more than there are bins.
        envelope: lowest bins of the envelope's spectrum; by default half as many as bands. 0 leaves it out.
        level: mean, deviation and kurtosis of each channel too, where amplitude carries information; leave it
            out where gains differ between devices for no reason.
        hidden: widths of layers on top; their output stands beside the features. Empty: the features alone.
        activation: of those layers: relu, silu or tanh.

    Raises:
        ModelError: the inputs are no windows of at least 8 samples, or an option does not fit them.
    """
    if len(input_shape) != 2 or input_shape[1] < 8:
        raise ModelError(
            f"model spectral takes windows of shape (channels, samples) with at least 8 samples, not "
            f"{tuple(input_shape)}"
        )
    channels, samples = input_shape
    bins = math.prod(_factors(samples)) // 2
    if bands is None:  # of a width that leaves no bin out, or few
        bands = bins // -(-bins // max(4, min(128, 2 * FEATURES // (3 * channels))))
    if envelope is None:
        envelope = min(bins, bands // 2)
    for name, value, least in (("bands", bands, 1), ("envelope", envelope, 0)):
        if not least <= value <= bins:
            raise ModelError(
                f"model spectral: {name} is {value}; windows of {samples} samples have {bins} bins, so use "
                f"{least} to {bins}"
            )
    front = SpectralFront(channels, samples, bands, envelope, level)
    return beside("spectral", front, front.features, outputs, hidden, activation)


def _product(x: Tensor, constant: Tensor) -> Tensor:
    """`x @ constant` over the last axis as one flat product, or torch copies the constant for each."""
    return (x.reshape(-1, x.shape[-1]) @ constant).reshape(*x.shape[:-1], constant.shape[1])


def _standard(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + _QUIET).sqrt()


def _banded(power: Tensor, bands: int) -> Tensor:
    """Mean power in `bands` bands of equal width; bins that do not fill another band are left out."""
    width = power.shape[-1] // bands
    kept = power[..., : width * bands]
    return kept.reshape(*kept.shape[:-1], bands, width).mean(-1)


def _factors(samples: int) -> tuple[int, int]:
    """Rows and columns, rows even and columns no more than rows, whose product is at least `samples`."""
    root = math.isqrt(samples)
    exact = [columns for columns in range(max(1, root // 2), root + 1) if samples % (2 * columns) == 0]
    if exact:
        return samples // exact[-1], exact[-1]
    rows = 2 * math.ceil(math.sqrt(samples) / 2)
    return rows, math.ceil(samples / rows)


def _angles(left: Tensor, right: Tensor, period: int) -> Tensor:
    """Angles 2 pi l r / period, (left, right); the product is reduced first, for exactness."""
    return 2 * math.pi * torch.remainder(left[:, None] * right, period) / period


def _order(rows: int, columns: int) -> Tensor:
    """Where bins 1 to half of the window lie in the flattened (half the rows + 1, columns).

    Frequency row + rows * column stands at (row, column); one whose row is not kept is read at its mirror.
    """
    padded, places = rows * columns, []
    for bin_ in range(1, padded // 2 + 1):
        kept = bin_ if bin_ % rows <= rows // 2 else padded - bin_
        places.append((kept % rows) * columns + kept // rows)
    return torch.tensor(places)
