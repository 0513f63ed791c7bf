"""A task pool: the recordings of many tasks, to draw episodes from."""

from __future__ import annotations

from acclimate.errors import DataError
from acclimate.initialization import Normalization
from acclimate.tasks.episodes import EpisodePlan, Indices
from acclimate.tasks.pool.moments import measured
from acclimate.tasks.pool.sampler import PoolSampler
from acclimate.tasks.pool.stored import StoredPool


class TaskPool(StoredPool):
    """An open pool."""

    def normalization(self, tasks: Indices) -> Normalization:
        """Mean, scale and bounds of each channel, mean and scale of each target, over all rows of `tasks`.

        Missing values are left out; a constant channel is still. Pass training tasks only.
        """
        if len(tasks) == 0:
            raise DataError("no task to measure a normalization on: pass the training tasks")
        return measured(self, tasks)

    def sampler(
        self, tasks: Indices, plan: EpisodePlan, normalization: Normalization | None = None, seed: int = 0
    ) -> PoolSampler:
        """A sampler over `tasks`; without a normalization, values stay as recorded.

        Raises:
            DataError: the plan does not fit the pool, or leaves no usable task.
        """
        return PoolSampler.over(self, tasks, plan, normalization, seed)
