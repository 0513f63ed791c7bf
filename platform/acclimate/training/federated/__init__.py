"""Meta-training in which a shard is a device that gives sums or updates, never examples."""
