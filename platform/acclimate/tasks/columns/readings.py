"""A table with a row for each reading, which names the channel, read as one with a column for each channel.

Historians write so: device, time, tag, value. Every reading becomes a row that holds one channel; even steps
(`resample_s`) then gather the rows of one step into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns.looks import is_dated, is_float, is_text, name_quantities
from acclimate.tasks.columns.words import LABEL, QUANTITY, READING, TASK, names_one, words
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.types import FILE, NAME, Column, is_number

MOST_CHANNELS = 64


@dataclass(frozen=True)
class ReadingsPart(PartAround):
    """A part whose column `key` names the channel that `value` holds, with a column for each of `names`."""

    key: str
    value: str
    names: tuple[str, ...]

    @property
    def columns(self) -> Mapping[str, Column]:
        own = {name: one for name, one in self.part.columns.items() if name not in (self.key, self.value)}
        return own | dict.fromkeys(self.names, Column(pa.float64()))

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        own = {name: type_ for name, type_ in types.items() if name not in self.names}
        for arrays in self.part.batches({**own, self.key: pa.string(), self.value: pa.float64()}):
            made = {name: arrays[name] for name in own}
            key = arrays[self.key]
            key = key.dictionary_decode() if pa.types.is_dictionary(key.type) else key
            for name in types:
                if name in self.names:
                    made[name] = pc.if_else(
                        pc.equal(key, name), arrays[self.value], pa.scalar(None, pa.float64())
                    )
            yield made


def spread(source: Source, schema: RecordingSchema) -> Source:
    """`source` with a column for each channel, if the schema names columns of `readings`."""
    if not schema.readings:
        return source
    wanted = (*schema.channels, *schema.targets)
    names = tuple(dict.fromkeys(name for name in wanted if name not in source.columns))
    return by_channel(source, schema.readings, names)


def by_channel(source: Source, readings: Sequence[str], names: tuple[str, ...]) -> Source:
    """`source` with a column for each of `names`.

    Raises:
        DataError: a column of `readings` is not there, or the second holds no numbers.
    """
    key, value = readings
    for column in readings:
        if column not in source.columns:
            raise DataError(f"readings names {column!r}, which is no column; there are {source.columns[:20]}")
    if not is_number(source.types[value]):
        raise DataError(
            f"column {value!r} of the readings holds {source.types[value]}, not numbers: name the words that "
            "stand for a missing value in `absent`"
        )
    said = f"column {key!r} names what {value!r} holds: read as {len(names)} columns"
    return Source(
        source.name,
        source.fingerprint,
        lambda: [ReadingsPart(part, key, value, names) for part in source.parts],
        (*source.said, said),
    )


def _names_channels(values: pd.Series) -> bool:
    """Whether a column is called so, or each of its values names another quantity, and it is no label."""
    if {*words(values.name), values.name} & set(QUANTITY.split()):
        return True
    return not words(values.name) & set(LABEL.split()) and name_quantities(values)


def find_readings(frame: pd.DataFrame, device: str | None) -> tuple[str, str, tuple[str, ...]] | None:
    """The column that names channels, the one that holds their values, and the channels, of a sample.

    Args:
        device: the column that a person said names it; else one must look like it.
    """
    texts = [name for name in frame.columns if is_text(frame[name]) and frame[name].nunique() > 1]
    numbers = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    values = [name for name in numbers if words(name) & set(READING.split())]
    keys = [name for name in texts if name != device and _names_channels(frame[name])]
    devices = [name for name in texts if words(name) & set(TASK.split())]
    devices += [name for name in numbers if names_one(name, TASK.split()) and not is_float(frame[name])]
    called = NAME if NAME in frame.columns else FILE
    devices += [FILE] if FILE in frame.columns and not is_dated(frame[called]) else []
    keys = keys if device else keys[-1:] if set(devices) - set(keys[-1:]) else []
    if len(values) != 1 or len(keys) != 1:
        return None
    channels = tuple(sorted(map(str, frame[keys[0]].dropna().unique())))
    return (keys[0], values[0], channels) if 2 <= len(channels) <= MOST_CHANNELS else None
