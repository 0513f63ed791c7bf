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
HALF_HOURS = 18  # of a day, from 8:00 to 16:30: what is recorded
OPENS = 16  # half-hours after midnight
READER = 2


def load(
    files: Files,
    *,
    mode: Literal["profile", "forecast"] = "profile",
    window: int = 24,
    horizon: int = 4,
    min_rows: int = 1000,
) -> tuple[Source, RecordingSchema]:
    """The occupancy rate, 0 to 1, from the clock alone (`profile`) or from its past (`forecast`).

    Args:
        window: latest half-hours that a forecast sees beside those of a day and a week before.
        horizon: half-hours of opening ahead that it makes.
        min_rows: shorter car parks are left out; the default leaves 28 of 30.
    """
    if mode not in ("profile", "forecast"):
        raise DataError(f"mode is {mode!r}: it must be 'profile' or 'forecast'")
    paths = files.find(("parking_birmingham30", "parking"), FORMS, PUBLISHED)
    mark = fingerprint(paths, {"min_rows": min_rows}, READER)
    if mode == "forecast":
        regular = deferred("parking by the half-hour", mark, lambda: _opening_hours(read(paths[0]), min_rows))
        return _forecast(regular, window, horizon)
    source = deferred("parking", mark, lambda: _recordings(read(paths[0]), min_rows))
    return source, RecordingSchema(
        kind="regression", task="car_park", time="time", channels=CLOCK, targets=("rate",)
    )


def _forecast(source: Source, window: int, horizon: int) -> tuple[Source, RecordingSchema]:
    """Rows are half-hours of opening: a day is 18 of them, and windows run on over nights."""
    return source, RecordingSchema(
        kind="forecasting",
        task="car_park",
        time="time",
        channels=("rate",),
        targets=("rate",),
        window=window,
        stride=1,
        horizon=horizon,
        seasons=(HALF_HOURS, 7 * HALF_HOURS),
        calendar=("day", "week"),
        missing="season",
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


def _opening_hours(table: Any, min_rows: int) -> Any:
    """A row for each half-hour of opening, whether it was recorded or not."""
    table = _long(table, min_rows)
    seconds = pc.cast(table["time"], pa.int64()).to_numpy()
    half_hour = np.round(seconds / 1800).astype(np.int64)
    day, at = half_hour // 48, half_hour % 48 - OPENS
    parks, park = np.unique(table["car_park"].to_numpy(zero_copy_only=False), return_inverse=True)
    first, days = day.min(), np.ptp(day) + 1
    rate = np.full((len(parks), days, HALF_HOURS), np.nan)
    opening = (at >= 0) & (at < HALF_HOURS)
    rate[park[opening], day[opening] - first, at[opening]] = _rate(table)[opening]
    moments = (first + np.arange(days))[:, None] * 48 + OPENS + np.arange(HALF_HOURS)
    return pa.table(
        {
            "car_park": np.repeat(parks, rate[0].size),
            "time": pa.array(np.tile(moments.ravel() * 1800, len(parks)), pa.timestamp("s")),
            "rate": rate.ravel(),
        }
    )


def _long(table: Any, min_rows: int) -> Any:
    counts = table.group_by("car_park").aggregate([("time", "count")])
    long = counts.filter(pc.greater_equal(counts["time_count"], min_rows))["car_park"]
    return table.filter(pc.is_in(table["car_park"], value_set=long.combine_chunks()))


def _rate(table: Any) -> Any:
    return np.clip(table["occupancy"].to_numpy() / table["capacity"].to_numpy(), 0.0, 1.0)


def _recordings(table: Any, min_rows: int) -> Any:
    table = _long(table, min_rows)
    seconds = pc.cast(table["time"], pa.int64()).to_numpy()
    weekday = (seconds // 86_400 + 3) % 7  # 1970-01-01 was a Thursday
    columns = {
        "car_park": table["car_park"],
        "time": table["time"],
        "rate": _rate(table),
        "hour": seconds % 86_400 / 3600,
    }
    columns |= {name: (weekday == day).astype(np.float32) for day, name in enumerate(WEEKDAYS)}
    return pa.table(columns)
