"""Activities of 51 people, recorded by a smartwatch and a phone at 20 Hz (UCI 507).

G. M. Weiss, K. Yoneda, T. Hayajneh (2019), Smartphone and smartwatch-based biometrics using activities of
daily living, IEEE Access 7. CC BY 4.0. A task is one person; each activity was recorded in one session of
about three minutes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from acclimate.errors import DataError
from acclimate.tasks.datasets.download import Download
from acclimate.tasks.datasets.files import Files, fingerprint
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, deferred

ARCHIVE = "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"
# The publisher's checksum is not known here: pinned at the first download.
PUBLISHED = (Download(f"https://archive.ics.uci.edu/static/public/507/{ARCHIVE}", ARCHIVE),)
ACTIVITIES = {
    "A": "walking", "B": "jogging", "C": "stairs", "D": "sitting", "E": "standing", "F": "typing",
    "G": "teeth", "H": "soup", "I": "chips", "J": "pasta", "K": "drinking", "L": "sandwich",
    "M": "kicking", "O": "catch", "P": "dribbling", "Q": "writing", "R": "clapping", "S": "folding",
}  # fmt: skip
SIGNALS = {
    "raw": ("raw_watch_accel_20hz.parquet", r"raw/watch/accel/data_(\d+)_accel_watch\.txt$"),
    "watch": ("features_watch_accel.parquet", r"arff_files/watch/accel/data_(\d+)_accel_watch\.arff$"),
    "phone": ("features_phone_accel.parquet", r"arff_files/phone/accel/data_(\d+)_accel_phone\.arff$"),
}
AXES = ("x", "y", "z")
FEATURES = (
    *(f"{axis}{number}" for axis in "XYZ" for number in range(10)),
    *(f"{axis}{name}" for name in ("AVG", "PEAK", "ABSOLDEV", "STANDDEV", "VAR") for axis in "XYZ"),
    *(f"{axis}MFCC{number}" for axis in "XYZ" for number in range(13)),
    *("XYCOS", "XZCOS", "YZCOS", "XYCOR", "XZCOR", "YZCOR", "RESULTANT"),
)
RATE_HZ = 20.0
LONGEST_GAP_S = 0.2
READER = 1


def load(
    files: Files,
    *,
    signal: Literal["raw", "watch", "phone"] = "raw",
    window: int = 200,
    stride: int | None = None,
) -> tuple[Source, RecordingSchema]:
    """Acceleration of the watch (`raw`), or the authors' features of 10 s of it (`watch`) or of the phone.

    Args:
        window: rows of an example of `raw`; 200 are 10 s.
        stride: rows between two of them; default: half the window.
    """
    if signal not in SIGNALS:
        raise DataError(f"signal is {signal!r}: it must be one of {', '.join(map(repr, SIGNALS))}")
    paths = files.find(("wisdm51", "wisdm"), ((SIGNALS[signal][0],), (ARCHIVE,)), PUBLISHED)
    source = deferred(
        f"wisdm {signal}", fingerprint(paths, {"signal": signal}, READER), lambda: read(paths[0], signal)
    )
    schema = RecordingSchema(
        kind="classification",
        task="subject",
        recording="activity",
        label="activity",
        labels=tuple(ACTIVITIES.values()),
        channels=FEATURES,
        timeline="label",
        sample_rate_hz=0.1,
    )
    if signal != "raw":
        return source, schema
    return source, replace(
        schema,
        channels=AXES,
        units=("m/s^2",) * len(AXES),
        time="time_s",
        max_gap=LONGEST_GAP_S,
        window=window,
        stride=stride,
        sample_rate_hz=RATE_HZ,
    )


def read(path: Path, signal: str) -> Any:
    """The rows of one signal, `subject` and `activity` (its name) first, sessions in their order."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return _raw_of_reduced(table) if signal == "raw" else _named(table)
    with _recordings_archive(path) as archive:
        pattern = re.compile(SIGNALS[signal][1])
        found = sorted((match[1], name) for name in archive.namelist() if (match := pattern.search(name)))
        if not found:
            raise DataError(f"{path} has no file like {pattern.pattern}: fetch {PUBLISHED[0].url} again")
        parse = _parse_raw if signal == "raw" else _parse_features
        return pa.concat_tables(parse(archive.read(name), int(subject)) for subject, name in found)


@contextmanager
def _recordings_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive with the recordings: the publisher's holds it as an archive inside the archive."""
    with zipfile.ZipFile(path) as outer:
        inner = next((name for name in outer.namelist() if name.endswith("wisdm-dataset.zip")), None)
        if inner is None:
            yield outer
            return
        with outer.open(inner) as file, zipfile.ZipFile(file) as archive:
            yield archive


def _raw_of_reduced(table: Any) -> Any:
    """`t_ms` and thousandths of m/s^2 to seconds and m/s^2."""
    columns = {"subject": table["subject"], "activity": table["activity"]}
    columns["time_s"] = table["t_ms"].to_numpy() / 1e3
    columns |= {axis: table[axis].to_numpy().astype(np.float32) / 1e3 for axis in AXES}
    return _named(pa.table(columns))


def _parse_raw(content: bytes, subject: int) -> Any:
    """Lines `subject,activity,nanoseconds,x,y,z;`."""
    names = ("subject", "activity", "time_s", *AXES)
    options = pa.csv.ReadOptions(column_names=names)
    table = pa.csv.read_csv(io.BytesIO(content.replace(b";", b"")), read_options=options)
    activity = table["activity"].to_numpy(zero_copy_only=False)
    since = table["time_s"].to_numpy().astype(np.float64) / 1e9
    for name in np.unique(activity):
        since[activity == name] -= since[activity == name].min()
    columns = {"subject": np.full(len(since), subject, np.int16), "activity": activity, "time_s": since}
    columns |= {axis: table[axis].to_numpy().astype(np.float32) for axis in AXES}
    return _named(pa.table(columns))


def _parse_features(content: bytes, subject: int) -> Any:
    """ARFF: activity first, the features, the subject last; the subject is taken from the file's name."""
    _, found, body = content.partition(b"@data")
    names = ("activity", *FEATURES, "class")
    if not found:
        raise DataError(f"wisdm: the feature file of subject {subject} has no @data section")
    options = pa.csv.ReadOptions(column_names=names)
    nulls = pa.csv.ConvertOptions(null_values=["?"], column_types=dict.fromkeys(FEATURES, pa.float32()))
    table = pa.csv.read_csv(io.BytesIO(body.strip()), read_options=options, convert_options=nulls)
    table = table.drop_columns("class").add_column(0, "subject", pa.array([subject] * len(table), pa.int16()))
    return _named(table)


def _named(table: Any) -> Any:
    """Activities by name in place of their letter."""
    letters = table["activity"].combine_chunks().dictionary_encode()
    names = [str(letter).strip() for letter in letters.dictionary.to_pylist()]
    unknown = set(names) - set(ACTIVITIES)
    if unknown:
        raise DataError(f"wisdm: activity {min(unknown)!r} is none of {', '.join(ACTIVITIES)}")
    named = pa.DictionaryArray.from_arrays(letters.indices, [ACTIVITIES[name] for name in names])
    return table.set_column(table.column_names.index("activity"), "activity", named)
