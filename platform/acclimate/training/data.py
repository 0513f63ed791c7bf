"""From a recipe's data section to tasks."""

from __future__ import annotations

import hashlib
from pathlib import Path

from acclimate.errors import DataError
from acclimate.tasks import (
    DATASETS,
    RecordingSchema,
    TaskDistribution,
    TaskPool,
    build_pool,
    from_parquet,
    open_dataset,
)
from acclimate.tasks.home import pools
from acclimate.training.recipe import DataSection


def open_data(data: DataSection, name: str) -> TaskDistribution:
    """Open a named data set, an existing pool, or Parquet whose columns `data.recordings` declares.

    Pools are built once, under `pools/` in `ACCLIMATE_HOME`.

    Args:
        name: of the pool that is built from Parquet.

    Raises:
        DataError: there is no such data, or it does not fit its declaration.
    """
    if data.source in DATASETS:
        return open_dataset(data.source, **data.options)
    if (Path(data.source) / "pool.json").is_file():
        return TaskPool.open(data.source)
    if not data.recordings:
        raise DataError(
            f"data.source {data.source!r} is neither a named data set ({', '.join(DATASETS)}) nor a task "
            "pool; for Parquet, declare its columns under data.recordings"
        )
    try:
        schema = RecordingSchema.from_dict(dict(data.recordings))
    except TypeError as error:
        raise DataError(f"data.recordings: {error}") from error
    return build_pool(from_parquet(data.source), schema, pools() / name)


def data_fingerprint(data: TaskDistribution) -> str:
    """What the data are, for lineage: the content hash of a pool, or of a generator's definition."""
    if isinstance(data, TaskPool):
        return data.info.content_hash
    return hashlib.sha256(repr(data).encode()).hexdigest()
