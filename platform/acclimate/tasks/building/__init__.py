"""From a source to a task pool: two passes over the rows, then order, even steps, gaps and windows."""
