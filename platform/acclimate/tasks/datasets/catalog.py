"""The named data sets and how to open one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.errors import DataError
from acclimate.tasks.build import Progress, build_pool
from acclimate.tasks.datasets import watch
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sinusoid import Sinusoids
from acclimate.tasks.sources import Source


@dataclass(frozen=True)
class NamedDataset:
    """One entry of the catalog.

    Attributes:
        summary: one line for people.
        load: makes its source and schema; its keyword arguments are the options of `open_dataset`.
    """

    summary: str
    load: Callable[..., tuple[Source, RecordingSchema]] | None


DATASETS: dict[str, NamedDataset] = {
    "watch": NamedDataset("10 people x 2 arms, 7 shoulder exercises, smartwatch motion at 50 Hz", watch.load),
    "sinusoid": NamedDataset("sine waves of random amplitude and phase, generated (MAML paper)", None),
}


def open_dataset(
    name: str, *, pool_dir: Path | str | None = None, progress: Progress | None = None, **options: Any
) -> TaskPool | Sinusoids:
    """Open a named data set, building its pool the first time.

    Args:
        pool_dir: where pools are kept; default: `pools` in the folder `ACCLIMATE_HOME` (`acclimate-home`).
        options: of the data set, e.g. `window`.

    Raises:
        DataError: an unknown name or option, or the data cannot be found or downloaded.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(DATASETS)}"
        raise DataError(f"no data set is called {name!r}; {hint}")
    load = DATASETS[name].load
    try:
        if load is None:
            return Sinusoids(**options)
        source, schema = load(**options)
    except TypeError as error:
        raise DataError(f"data set {name!r}: {error}") from error
    folder = (
        Path(pool_dir) if pool_dir else Path(os.environ.get("ACCLIMATE_HOME", "acclimate-home")) / "pools"
    )
    return build_pool(source, schema, folder / name, progress=progress)
