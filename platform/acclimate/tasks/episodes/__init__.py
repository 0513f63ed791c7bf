"""What learners are trained and judged on: examples of some tasks, drawn alike wherever they are drawn."""

from acclimate.tasks.episodes.episodes import (
    Around,
    EpisodePlan,
    Episodes,
    Examples,
    Indices,
    Sampler,
    TaskDistribution,
)

__all__ = ["Around", "EpisodePlan", "Episodes", "Examples", "Indices", "Sampler", "TaskDistribution"]
