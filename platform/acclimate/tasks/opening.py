"""From what a recipe or a command line names to tasks: a data set, a pool, or declared Parquet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from acclimate.errors import DataError
from acclimate.initialization import Missing
from acclimate.nearest import did_you_mean
from acclimate.tasks.building.build import Progress, build_pool, fingerprint_of, silent
from acclimate.tasks.building.shards import Run, build_in_store, here
from acclimate.tasks.datasets import DATASETS, load_dataset, open_dataset
from acclimate.tasks.episodes.sinusoid import Sinusoids
from acclimate.tasks.home import pools
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.info import INFO
from acclimate.tasks.pool.stored import is_url
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, from_files


def open_tasks(
    source: str,
    *,
    options: Mapping[str, Any] | None = None,
    recordings: Mapping[str, Any] | None = None,
    data_dir: Path | str | None = None,
    pool: Path | str | None = None,
    missing: Missing | None = None,
    progress: Progress = silent,
    run: Run = here,
) -> TaskPool | Sinusoids:
    """Open tasks by name or place; a pool is built the first time.

    Args:
        source: a named data set, the folder or URL of a pool, or a Parquet path or URL.
        options: of a named data set.
        recordings: what the columns of Parquet mean, see `RecordingSchema`.
        data_dir: where the files of named data sets are, see `open_dataset`.
        pool: where to build a pool from Parquet, or the URL of a place in an object store, for any
            recordings; default: under `pools` in `ACCLIMATE_HOME`, one for each content and declaration.
        missing: how to treat missing values of Parquet, in place of what `recordings` says.
        run: builds the shards of a pool at a URL.

    Raises:
        DataError: there is no such data, or it does not fit its declaration.
    """
    if source in DATASETS:
        if recordings:
            raise DataError(f"data set {source!r} declares its own columns: leave `recordings` out")
        if pool is not None and is_url(pool):
            found = load_dataset(source, data_dir=data_dir, progress=progress, **(options or {}))
            if isinstance(found, Sinusoids):
                raise DataError(f"data set {source!r} is generated: there is nothing to build")
            return _in_store(*found, str(pool), run, progress)
        return open_dataset(source, data_dir=data_dir, progress=progress, **(options or {}))
    if (source and (Path(source) / INFO).is_file()) or (is_url(source) and not recordings):
        return TaskPool.open(source)
    if not recordings:
        hint = did_you_mean(source, DATASETS, "if it is Parquet, declare its columns as `recordings`")
        raise DataError(
            f"{source!r} is neither a named data set ({', '.join(DATASETS)}) nor the folder of a task pool; "
            f"{hint}"
        )
    schema = RecordingSchema.from_dict(recordings)
    if missing is not None:
        schema = replace(schema, missing=missing)
    table = from_files(source, schema.absent_words)
    if pool is not None and is_url(pool):
        return _in_store(table, schema, str(pool), run, progress)
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).stem).strip("-") or "recordings"
    return build_pool(
        table, schema, pool or pools() / f"{name}-{fingerprint_of(table, schema)[:12]}", progress=progress
    )


def _in_store(source: Source, schema: RecordingSchema, url: str, run: Run, progress: Progress) -> TaskPool:
    build_in_store(source, schema, url, run=run, progress=progress)
    return TaskPool.open(url)
