"""Who is who: ten people with a watch on each arm, and whose recordings may be trained on when.

Devices only ever belong to people outside `TRAINED`. Those of `CONSENTING` hand in their recordings when
their watches drift, and join the training of the next version. `STRANGERS` never do: they are the held-out
tasks of every evaluation, so no version is ever judged on people it has seen there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acclimate.files import scratch_file
from acclimate.tasks.datasets import watch

TRAINED = tuple(f"person-{number:02d}" for number in (1, 2, 3, 4, 5))
CONSENTING = tuple(f"person-{number:02d}" for number in (6, 7, 8))
STRANGERS = tuple(f"person-{number:02d}" for number in (9, 10))

RECORDINGS: Mapping[str, Any] = {
    "kind": "classification",
    "task": "arm",
    "group": "person",
    "recording": "recording",
    "label": "exercise",
    "labels": watch.EXERCISES,
    "channels": watch.CHANNELS,
    "units": watch.UNITS,
    "window": 100,
    "timeline": "label",
    "sample_rate_hz": 50.0,
}
"""The declaration under which each person's Parquet file is read."""


def arms(people: Iterable[str], side: str) -> tuple[str, ...]:
    """The tasks of one side, by id."""
    return tuple(f"{person}-{side}" for person in people)


def record(people: Iterable[str], folder: Path) -> None:
    """Put people's recordings into `folder`, a Parquet file each that appears whole or not at all."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = watch.read(watch.locate())
    for person in people:
        with scratch_file(folder / f"{person}.parquet") as scratch:
            pq.write_table(table.filter(pc.equal(table["person"], person)), scratch)
