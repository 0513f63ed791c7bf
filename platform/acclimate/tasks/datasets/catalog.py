"""The named data sets and how to open one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.errors import DataError
from acclimate.nearest import did_you_mean
from acclimate.tasks.building.build import Progress, build_pool, fingerprint_of, silent
from acclimate.tasks.datasets import gas_drift, omniglot, parking, vibration, watch, wisdm
from acclimate.tasks.datasets.files import Files
from acclimate.tasks.episodes.sinusoid import Sinusoids
from acclimate.tasks.home import downloads, pools
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source


@dataclass(frozen=True)
class NamedDataset:
    """One entry of the catalog.

    Attributes:
        summary: one line for people.
        terms: licence or origin.
        load: finds its files and declares its columns; its keyword arguments are the data set's options.
    """

    summary: str
    terms: str
    load: Callable[..., tuple[Source, RecordingSchema]] | type[Sinusoids]

    @property
    def options(self) -> dict[str, Any]:
        """Its options and their defaults."""
        parameters = inspect.signature(self.load).parameters
        return {name: one.default for name, one in parameters.items() if name != "files"}


DATASETS: dict[str, NamedDataset] = {
    "watch": NamedDataset(
        "20 arms of 10 people, 7 shoulder exercises, smartwatch motion at 50 Hz",
        "BSD, inside the seglearn package",
        watch.load,
    ),
    "sinusoid": NamedDataset("sine waves of random amplitude and phase", "generated (MAML paper)", Sinusoids),
    "vibration": NamedDataset(
        "20 machines, 6 states of bearing and shaft, acceleration at 12.8 kHz", "generated", vibration.load
    ),
    "omniglot": NamedDataset(
        "1,623 handwritten characters, 20 images each", "MIT, Lake et al.", omniglot.load
    ),
    "parking": NamedDataset("occupancy of 28 car parks, half-hourly", "CC BY 4.0, UCI 482", parking.load),
    "wisdm": NamedDataset(
        "51 people, 18 activities, watch or phone motion at 20 Hz", "CC BY 4.0, UCI 507", wisdm.load
    ),
    "gas-drift": NamedDataset(
        "16 gas sensors ageing over 36 months, 6 gases", "not for commercial use, UCI 224", gas_drift.load
    ),
}


def open_dataset(
    name: str,
    *,
    data_dir: Path | str | None = None,
    pool_dir: Path | str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> TaskPool | Sinusoids:
    """Open a named data set; the first time its files are found or downloaded and its pool is built.

    Args:
        data_dir: a folder with the files, as the publisher or the reduced sets name them; default:
            `ACCLIMATE_DATA_DIR`. What is not there is downloaded.
        pool_dir: where pools are kept, one for each combination of options; default: `pools` in
            `ACCLIMATE_HOME`.
        progress: told about downloads and builds.
        options: of the data set, see `DATASETS[name].options`.

    Raises:
        DataError: an unknown name or option, or the data cannot be found or downloaded.
    """
    found = load_dataset(name, data_dir=data_dir, progress=progress, **options)
    if isinstance(found, Sinusoids):
        return found
    source, schema = found
    folder = Path(pool_dir) if pool_dir else pools()
    return build_pool(
        source, schema, folder / f"{name}-{fingerprint_of(source, schema)[:12]}", progress=progress
    )


def load_dataset(
    name: str, *, data_dir: Path | str | None = None, progress: Progress = silent, **options: Any
) -> tuple[Source, RecordingSchema] | Sinusoids:
    """The recordings of a named data set and what their columns mean; see `open_dataset`."""
    dataset = find_dataset(name)
    for option in options:
        if option not in dataset.options:
            hint = did_you_mean(option, dataset.options, f"there are {', '.join(dataset.options)}")
            raise DataError(f"data set {name!r} has no option {option!r}; {hint}")
    if isinstance(dataset.load, type):
        return dataset.load(**options)
    return dataset.load(Files(Path(data_dir) if data_dir else None, downloads(), progress), **options)


def find_dataset(name: str) -> NamedDataset:
    """The entry called `name`, or a DataError with the nearest name."""
    if name not in DATASETS:
        hint = did_you_mean(name, DATASETS, f"there are {', '.join(DATASETS)}")
        raise DataError(f"no data set is called {name!r}; {hint}")
    return DATASETS[name]
