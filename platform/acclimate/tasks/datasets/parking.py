"""Occupancy of 30 car parks in Birmingham, half-hourly, 2016-10-04 to 2016-12-19 (UCI 482).

D. H. Stolfi, E. Alba, X. Yao (2017), Predicting car park occupancy rates in smart cities, Smart-CT 2017.
CC BY 4.0. A task is one car park.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from acclimate.errors import DataError
from acclimate.tasks.datasets.download import Download
from acclimate.tasks.datasets.files import Files, fingerprint
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, deferred

# The publisher's checksum is not known here: pinned at the first download.
PUBLISHED = (
    Download(
        "https://archive.ics.uci.edu/static/public/482/parking+birmingham.zip", "parking+birmingham.zip"
    ),
)
FORMS = (("parking.parquet",), ("dataset.csv",), ("parking+birmingham.zip",))
ORIGINAL = {
    "SystemCodeNumber": "car_park",
    "Capacity": "capacity",
    "Occupancy": "occupancy",
    "LastUpdated": "time",
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CLOCK = ("hour", *WEEKDAYS)
HALF_HOUR_S = 1800.0
READER = 1


def load(
    files: Files,
    *,
    mode: Literal["profile", "forecast"] = "profile",
    window: int = 4,
    horizon: int = 4,
    min_rows: int = 1000,
) -> tuple[Source, RecordingSchema]:
    """The occupancy rate, 0 to 1, from the clock alone (`profile`) or from its past (`forecast`).

    Args:
        window: half-hours of the past that a forecast sees.
        horizon: half-hours ahead that it makes.
        min_rows: shorter car parks are left out; the default leaves 28 of 30.
    """
    if mode not in ("profile", "forecast"):
        raise DataError(f"mode is {mode!r}: it must be 'profile' or 'forecast'")
    paths = files.find(("parking_birmingham30", "parking"), FORMS, PUBLISHED)
    mark = fingerprint(paths, {"min_rows": min_rows}, READER)
    source = deferred("parking", mark, lambda: _recordings(read(paths[0]), min_rows))
    if mode == "profile":
        return source, RecordingSchema(
            kind="regression", task="car_park", time="time", channels=CLOCK, targets=("rate",)
        )
    return source, RecordingSchema(
        kind="forecasting",
        task="car_park",
        time="time",
        channels=("rate", *CLOCK),
        targets=("rate",),
        window=window,
        stride=1,
        horizon=horizon,
        max_gap=1.5 * HALF_HOUR_S,
        sample_rate_hz=1 / HALF_HOUR_S,
    )


def read(path: Path) -> Any:
    """car_park, capacity, occupancy and time as recorded, without exact duplicates, in order."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    else:
        table = pa.csv.read_csv(io.BytesIO(_csv(path))).rename_columns(ORIGINAL)
    table = table.select(list(ORIGINAL.values()))
    table = table.set_column(0, "car_park", pc.cast(table["car_park"], pa.string()))
    table = table.set_column(3, "time", pc.cast(table["time"], pa.timestamp("s"), safe=False))
    distinct = table.group_by(table.column_names).aggregate([]).select(table.column_names)
    return distinct.sort_by([("car_park", "ascending"), ("time", "ascending"), ("occupancy", "ascending")])


def _csv(path: Path) -> bytes:
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("dataset.csv")))


def _recordings(table: Any, min_rows: int) -> Any:
    counts = table.group_by("car_park").aggregate([("time", "count")])
    long = counts.filter(pc.greater_equal(counts["time_count"], min_rows))["car_park"]
    table = table.filter(pc.is_in(table["car_park"], value_set=long.combine_chunks()))
    seconds = pc.cast(table["time"], pa.int64()).to_numpy()
    weekday = (seconds // 86_400 + 3) % 7  # 1970-01-01 was a Thursday
    rate = np.clip(table["occupancy"].to_numpy() / table["capacity"].to_numpy(), 0.0, 1.0)
    columns = {
        "car_park": table["car_park"],
        "time": table["time"],
        "rate": rate,
        "hour": seconds % 86_400 / 3600,
    }
    columns |= {name: (weekday == day).astype(np.float32) for day, name in enumerate(WEEKDAYS)}
    return pa.table(columns)
