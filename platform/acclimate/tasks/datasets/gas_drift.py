"""A gas sensor array that ages: 16 metal-oxide sensors, 6 gases, 10 batches over 36 months (UCI 224, 270).

A. Vergara et al. (2012), Chemical gas sensor drift compensation using classifier ensembles, Sensors and
Actuators B 166-167. The donors exclude commercial purposes. One device, not a fleet: a task is a batch in
time, or all of it is one drifting stream.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acclimate.errors import DataError
from acclimate.tasks.datasets.download import Download
from acclimate.tasks.datasets.files import Files, fingerprint
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, deferred

# The publisher's checksum is not known here: pinned at the first download.
PUBLISHED = (
    Download(
        "https://archive.ics.uci.edu/static/public/224/gas+sensor+array+drift+dataset.zip",
        "gas+sensor+array+drift+dataset.zip",
    ),
)
FORMS = (
    ("gas_batches.parquet",),
    ("gas+sensor+array+drift+dataset.zip",),
    ("gas+sensor+array+drift+dataset+at+different+concentrations.zip",),
)
GASES = ("ethanol", "ethylene", "ammonia", "acetaldehyde", "acetone", "toluene")
FEATURES = ("dR", "dRn", "EMAinc001", "EMAinc01", "EMAinc1", "EMAdec001", "EMAdec01", "EMAdec1")
CHANNELS = tuple(f"s{sensor:02d}_{feature}" for sensor in range(1, 17) for feature in FEATURES)
READER = 1


def load(files: Files, *, task: Literal["batch", "array"] = "batch") -> tuple[Source, RecordingSchema]:
    """Which gas it is, from 128 features; features as sign(x) * log(1 + |x|), as they span five decades.

    Args:
        task: `batch` makes each batch in time a task; `array` makes one task of the whole drifting stream.
    """
    if task not in ("batch", "array"):
        raise DataError(f"task is {task!r}: it must be 'batch' or 'array'")
    paths = files.find(("gas_drift", "gas-drift"), FORMS, PUBLISHED)
    source = deferred("gas-drift", fingerprint(paths, {}, READER), lambda: _recordings(read(paths[0])))
    return source, RecordingSchema(
        kind="classification", task=task, channels=CHANNELS, label="gas", labels=GASES, time="position"
    )


def read(path: Path) -> tuple[Any, Any, Any]:
    """Batch (rows,), gas 1..6 (rows,) and features (rows, 128), in order of time."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        values = np.stack([table[name].to_numpy() for name in CHANNELS], axis=1)
        return table["batch"].to_numpy(), table["gas"].to_numpy(), values
    with zipfile.ZipFile(path) as archive:
        found = {_batch_number(name): name for name in archive.namelist() if _batch_number(name)}
        if not found:
            raise DataError(f"{path} has no batch*.dat: fetch {PUBLISHED[0].url} again")
        parts = [(number, *_parse(archive.read(name).decode())) for number, name in sorted(found.items())]
    batch = np.concatenate([np.full(len(gas), number) for number, gas, _ in parts])
    return batch, np.concatenate([gas for _, gas, _ in parts]), np.concatenate([x for _, _, x in parts])


def _batch_number(name: str) -> int:
    match = re.search(r"batch(\d+)\.dat$", name)
    return int(match[1]) if match else 0


def _parse(text: str) -> tuple[Any, Any]:
    """Lines `gas[;concentration] 1:value ... 128:value`."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    gas = np.array([int(row[0].partition(";")[0]) for row in rows])
    values = np.array([[pair.partition(":")[2] for pair in row[1:]] for row in rows], dtype=np.float32)
    return gas, values


def _recordings(parts: tuple[Any, Any, Any]) -> Any:
    batch, gas, values = parts
    logarithm = np.sign(values) * np.log1p(np.abs(values))
    columns: dict[str, Any] = {name: logarithm[:, index] for index, name in enumerate(CHANNELS)}
    columns["batch"] = [f"batch-{number:02d}" for number in batch]
    columns["array"] = ["array"] * len(batch)
    columns["position"] = np.arange(len(batch))
    columns["gas"] = [GASES[number - 1] for number in gas]
    return pa.table(columns)
