"""Shoulder exercises recorded by a smartwatch: the data inside the `seglearn` distribution.

D. M. Burns et al. (2018), Shoulder physiotherapy exercise recognition, Physiological Measurement 39(7).
10 people x 2 arms x 7 exercises, accelerometer and gyroscope at 50 Hz; one recording of 19 to 52 s for each
(person, arm, exercise). A task is one person's arm; a person is held out with both arms.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.errors import DataError
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, from_arrays

FILE = "seglearn/data/watch_dataset.npy"
# Of the file in the seglearn 1.2.5 wheel. It is a pickle, so nothing else may be unpickled in its place.
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")


def load(window: int = 100, stride: int | None = None) -> tuple[Source, RecordingSchema]:
    """The recordings and their schema; a window of 100 rows is 2 s."""
    path = locate()
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{path} is not the file this version of acclimate knows: reinstall seglearn")
    data: dict[str, Any] = np.load(path, allow_pickle=True).item()
    lengths = [len(recording) for recording in data["X"]]
    arms = [
        f"person-{int(subject):02d}-{'right' if side else 'left'}"
        for subject, side in zip(data["subject"], data["side"], strict=True)
    ]
    values = np.concatenate(data["X"]).astype(np.float32)
    columns: dict[str, Any] = {name: values[:, index] for index, name in enumerate(data["X_labels"])}
    columns["arm"] = np.repeat(arms, lengths)
    columns["person"] = np.repeat([arm.rpartition("-")[0] for arm in arms], lengths)
    columns["recording"] = np.repeat(np.arange(len(lengths)), lengths)
    columns["exercise"] = np.repeat([data["y_labels"][int(label)] for label in data["y"]], lengths)
    return from_arrays(columns, "watch"), RecordingSchema(
        kind="classification",
        task="arm",
        group="person",
        recording="recording",
        label="exercise",
        labels=tuple(data["y_labels"]),
        channels=CHANNELS,
        units=UNITS,
        window=window,
        stride=stride,
        timeline="label",
        sample_rate_hz=50.0,
    )


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
