"""What columns and tables of recordings say: moments, numbers spelled out, readings, a column a task."""
