"""Further devices out of the training tasks: sensors mounted at another angle, of another gain and offset.

What is drawn for a task holds for its support and its query alike, so that there is something to adapt to. It
is a pure function of (seed, step, index), as everything in an episode is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate.errors import DataError
from acclimate.initialization import InputSchema, Normalization
from acclimate.nearest import did_you_mean
from acclimate.tasks.episodes import Around, Episodes
from acclimate.tasks.episodes.randomness import Domain, generator


@dataclass(frozen=True)
class Augmentation:
    """What is varied, and how strongly; zeros leave the recordings as they are.

    Attributes:
        axes: sensors of three channels each, x, y and z, that are turned together.
        rotation: a typical angle is twice this, in radians.
        gain: standard deviation of a factor around 1 for each channel, in normalized units.
        offset: standard deviation of what is added to each channel, in normalized units.
    """

    axes: tuple[tuple[str, str, str], ...] = ()
    rotation: float = 0.0
    gain: float = 0.0
    offset: float = 0.0

    def check(self, schema: InputSchema) -> None:
        """Refuse names that are no channels.

        Raises:
            DataError: names the channel and the nearest one that exists.
        """
        if self.rotation and not self.axes:
            raise DataError(
                f"augmentation.rotation is {self.rotation} and `axes` is empty: name the three channels of "
                "each sensor, or leave rotation out"
            )
        for name in (name for sensor in self.axes for name in sensor):
            if name not in schema.channels:
                hint = did_you_mean(name, schema.channels, f"use names from {', '.join(schema.channels)}")
                raise DataError(f"augmentation.axes names {name!r}, which is no channel: {hint}")


@dataclass(frozen=True)
class AugmentedSampler(Around):
    """A sampler whose training episodes are augmented; `every_task` stays as recorded."""

    augmentation: Augmentation
    normalization: Normalization
    seed: int

    def episodes(self, step: int, indices: Sequence[int]) -> Episodes:
        drawn = self.sampler.episodes(step, indices)
        support, query = drawn.support.x.clone(), drawn.query.x.clone()
        for row, index in enumerate(indices):
            random = generator(self.seed, Domain.AUGMENTATION, step, index)
            turn, gain, offset = self._draw(random)
            for x in (support, query):
                x[row] = self._varied(x[row], turn, gain, offset)
        return Episodes(
            drawn.support._replace(x=_padded(support, drawn.support.w)),
            drawn.query._replace(x=_padded(query, drawn.query.w)),
            drawn.task_ids,
        )

    def _draw(self, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        quaternion = np.append(1.0, random.normal(size=3) * self.augmentation.rotation)
        channels = len(self.normalization.mean)
        gain = 1 + self.augmentation.gain * random.normal(size=channels)
        offset = self.augmentation.offset * random.normal(size=channels)
        return tuple(torch.from_numpy(part).float() for part in (rotation(quaternion), gain, offset))  # type: ignore[return-value]

    def _varied(self, x: Tensor, turn: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
        """One task's examples `(examples, channels[, ...])`, in normalized units."""
        column = (-1, *(1 for _ in x.shape[2:]))
        mean, scale = (
            torch.tensor(part).reshape(column) for part in (self.normalization.mean, self.normalization.scale)
        )
        recorded = x * scale + mean
        names = list(self.schema.channels)
        for sensor in self.augmentation.axes:
            at = [names.index(name) for name in sensor]
            recorded[:, at] = torch.einsum("ij,nj...->ni...", turn, recorded[:, at])
        return (recorded - mean) / scale * gain.reshape(column) + offset.reshape(column)


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrix `(3, 3)` of a quaternion (w, x, y, z) of any length but zero."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _padded(x: Tensor, w: Tensor) -> Tensor:
    return torch.where(w.reshape(*w.shape, *(1 for _ in x.shape[2:])) > 0, x, 0.0)
