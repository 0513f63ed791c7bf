"""The windows of each device in time order, as features, and which of them are normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from acclimate.initialization import Normalization
from acclimate.tasks import TaskPool
from acclimate.tasks.pool.stream import timeline
from acclimate.tasks.pool.windows import read_inputs

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CHUNK = 4096


@dataclass(frozen=True)
class Windows:
    """One device's windows.

    Attributes:
        features: (windows, d).
        normal: whether each is taken as normal, (windows,).
        until: windows before this one end before the cut of the device's timeline.
        after: windows from this one on begin after it.
    """

    features: Floats
    normal: Mask
    until: int
    after: int

    def own(self, number: int) -> Floats:
        """The newest normal windows before the cut, at most `number`."""
        before = self.features[: self.until][self.normal[: self.until]]
        return before[max(0, len(before) - number) :]

    @property
    def later(self) -> Floats:
        """Features after the cut."""
        return self.features[self.after :]

    @property
    def later_normal(self) -> Mask:
        return self.normal[self.after :]


@dataclass(frozen=True)
class Devices:
    """Reads windows of a pool's tasks.

    Attributes:
        pool: of kind `anomaly`.
        normalization: measured on training tasks.
        body: makes features of windows.
        fraction: of each timeline that lies before the cut.
    """

    pool: TaskPool
    normalization: Normalization
    body: nn.Module
    fraction: float

    def windows(self, task: int) -> Windows:
        """All windows of a task."""
        starts, classes = timeline(self.pool, task)
        schema = self.pool.info.schema
        first, last = self.pool.rows[task], self.pool.rows[task + 1]
        cut = first + int((last - first) * self.fraction)
        usual = [label in schema.normal for label in self.pool.info.labels] or [True]
        parts = [self._features(starts[begin : begin + CHUNK]) for begin in range(0, len(starts), CHUNK)]
        return Windows(
            features=np.concatenate(parts) if parts else np.zeros((0, 0)),
            normal=np.array(usual)[classes],
            until=int(np.searchsorted(starts, cut - schema.span + 1)),
            after=int(np.searchsorted(starts, cut)),
        )

    def _features(self, starts: npt.NDArray[np.int64]) -> Floats:
        x = torch.from_numpy(read_inputs(self.pool, starts, self.normalization))
        with torch.no_grad():
            made: Floats = self.body(x).double().numpy()
        return made
