"""Where recordings come from: files anywhere fsspec reaches, Arrow tables, data frames, or arrays.

A source is read more than once, batch by batch, and never held in memory as a whole unless it already is.
All its files have one schema: a type that differs from file to file is promoted where no value changes, and
refused by file and column where one would. What was detected or converted is said in `Source.notes`.
"""

from acclimate.tasks.sources.frames import as_table, deferred, from_arrays, from_frame
from acclimate.tasks.sources.places import from_files
from acclimate.tasks.sources.source import BATCH_ROWS, Batch, Source

__all__ = ["BATCH_ROWS", "Batch", "Source", "as_table", "deferred", "from_arrays", "from_files", "from_frame"]
