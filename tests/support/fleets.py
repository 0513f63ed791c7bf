"""Recordings of a small fleet as strangers write them, and what `acclimate init` and a pool make of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from acclimate.tasks import RecordingSchema, TaskPool, build_in_memory, from_files
from acclimate.tasks.guessing.guess import guess

DEVICES, ROWS = 6, 60


def fleet(start: str = "2026-01-10", step: str = "1min", zone: str | None = None) -> pd.DataFrame:
    random = np.random.default_rng(0)
    row = np.tile(np.arange(ROWS), DEVICES)
    return pd.DataFrame(
        {
            "device": np.repeat([f"p{one:02d}" for one in range(DEVICES)], ROWS),
            "time": pd.Timestamp(start, tz=zone) + row * pd.Timedelta(step),
            "pressure": random.normal(5, 1, len(row)).round(3),
            "flow": random.normal(20, 2, len(row)).round(3),
            "state": np.array(["idle", "run"])[row // 15 % 2],
        }
    )


def opened(place: Path, **given) -> tuple[TaskPool, dict]:
    """What `acclimate init` and a pool make of it."""
    declared = guess(from_files(str(place)), given).declaration
    schema = RecordingSchema.from_dict(declared)
    return build_in_memory(from_files(str(place), schema.absent_words), schema), declared


def as_written(pool: TaskPool, frame: pd.DataFrame, channels: list[str]) -> None:
    """The pool holds these numbers, at these seconds, in order of time."""
    wanted = frame.sort_values(["device", "time"], kind="stable")
    np.testing.assert_array_equal(pool.values, wanted[channels].to_numpy(dtype=np.float32))
    if pool.times is not None:
        first = wanted.groupby("device").time.transform("min")
        began = np.repeat(pool.times[pool.rows[:-1]], np.diff(pool.rows))
        np.testing.assert_allclose(pool.times - began, (wanted.time - first).dt.total_seconds(), atol=1e-5)


def csv(folder: Path, frame: pd.DataFrame, **options) -> Path:
    frame.to_csv(folder / "fleet.csv", index=False, **options)
    return folder / "fleet.csv"


def edited(folder: Path, frame: pd.DataFrame, edit) -> Path:
    """The lines of a CSV, changed."""
    text = "\n".join(edit(frame.to_csv(index=False).splitlines()))
    (folder / "fleet.csv").write_text(text)
    return folder / "fleet.csv"


def timed(written):
    """A way to write the time column into a CSV."""
    return lambda folder, frame: csv(folder, frame.assign(time=written(frame.time)))
