"""Task pools: the recordings of many tasks, on disk or in a store, and how episodes are drawn from them."""

from acclimate.tasks.pool.pool import TaskPool

__all__ = ["TaskPool"]
