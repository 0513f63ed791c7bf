"""Shoulder exercises recorded by a smartwatch: the data inside the `seglearn` distribution.

D. M. Burns et al. (2018), Shoulder physiotherapy exercise recognition, Physiological Measurement 39(7).
10 people x 2 arms x 7 exercises, accelerometer and gyroscope at 50 Hz; one recording of 19 to 52 s for each
(person, arm, exercise). A task is one person's arm; a person is held out with both arms.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.errors import DataError
from acclimate.tasks.datasets.files import Files
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, as_table, deferred

FILE = "seglearn/data/watch_dataset.npy"
# Of the file in the seglearn 1.2.5 wheel. It is a pickle, so nothing else may be unpickled in its place.
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")


def load(files: Files, *, window: int = 100, stride: int | None = None) -> tuple[Source, RecordingSchema]:
    """Which exercise it is.

    Args:
        window: rows of an example; 100 are 2 s.
        stride: rows between two of them; default: half the window.
    """
    return deferred("watch", SHA256, lambda: read(locate())), RecordingSchema(
        kind="classification",
        task="arm",
        group="person",
        recording="recording",
        label="exercise",
        labels=EXERCISES,
        channels=CHANNELS,
        units=UNITS,
        window=window,
        stride=stride,
        timeline="label",
        sample_rate_hz=50.0,
    )


def read(path: Path) -> Any:
    """All recordings as a table, checked to be the known file before it is unpickled."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{path} is not the file this version of acclimate knows: reinstall seglearn")
    data: dict[str, Any] = np.load(io.BytesIO(content), allow_pickle=True).item()
    lengths = [len(recording) for recording in data["X"]]
    people = [f"person-{int(subject):02d}" for subject in data["subject"]]
    arms = ["right" if side else "left" for side in data["side"]]
    values = np.concatenate(data["X"]).astype(np.float32)
    columns: dict[str, Any] = {name: values[:, index] for index, name in enumerate(CHANNELS)}
    columns["person"] = np.repeat(people, lengths)
    columns["arm"] = np.repeat([f"{person}-{arm}" for person, arm in zip(people, arms, strict=True)], lengths)
    columns["recording"] = np.repeat(np.arange(len(lengths)), lengths)
    columns["exercise"] = np.repeat([EXERCISES[int(label)] for label in data["y"]], lengths)
    return as_table(columns, "watch")


def locate() -> Path:
    """The file in the installed `seglearn`, which is never imported."""
    try:
        files = importlib.metadata.files("seglearn") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == FILE:
            return Path(str(file.locate()))
    raise DataError("the data set 'watch' is part of the package seglearn: pip install seglearn")
