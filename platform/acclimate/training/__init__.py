"""Meta-training: recipes, the outer loop, checkpoints and the pool of Ray task workers."""
