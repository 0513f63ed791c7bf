"""A moment that a table writes in two columns, a date and a time of day, read as one column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.types import Column

if TYPE_CHECKING:
    import pandas as pd

BETWEEN = " + "
"""Parts the names of the two columns in the name of the one that they make."""
_HOUR = r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp][Mm])?"
_DAY = r"\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3})[-/. ]\d{1,4}|\d{8}"


@dataclass(frozen=True)
class JoinedPart(PartAround):
    """A part with one column more: the texts of two, a blank between them."""

    day: str
    hour: str

    @property
    def columns(self) -> Mapping[str, Column]:
        return {**self.part.columns, self.day + BETWEEN + self.hour: Column(pa.string())}

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        made = self.day + BETWEEN + self.hour
        halves = dict.fromkeys((self.day, self.hour), pa.string()) if made in types else {}
        asked = {name: type_ for name, type_ in types.items() if name != made}
        for arrays in self.part.batches({**halves, **asked}):
            result = {name: arrays[name] for name in asked}
            if made in types:
                result[made] = pc.binary_join_element_wise(
                    _text(arrays[self.day]), _text(arrays[self.hour]), " "
                )
            yield result


def joined(source: Source, name: str | None) -> Source:
    """`source` with a column called `DATE + TIME`, if that is what `name` is and no column is called so.

    Raises:
        DataError: one of the two is no column, or no text.
    """
    if name is None or BETWEEN not in name or name in source.columns:
        return source
    day, _, hour = name.partition(BETWEEN)
    for half in (day, hour):
        if half not in source.columns:
            raise DataError(f"time is {name!r}, and {half!r} is no column; there are {source.columns[:20]}")
        if not pa.types.is_string(source.types[half]):
            raise DataError(
                f"time is {name!r}, and column {half!r} holds {source.types[half]}: both must be text; else "
                "write a column of timestamps"
            )
    return Source(
        source.name,
        source.fingerprint,
        lambda: [JoinedPart(part, day, hour) for part in source.parts],
        (*source.said, f"columns {day!r} and {hour!r} read as one moment"),
    )


def halves(frame: pd.DataFrame, texts: Sequence[str]) -> str | None:
    """The name of the column that a date and a time of day make, of a sample's texts; None where none do."""
    hours = [name for name in texts if _all(frame[name], _HOUR)]
    days = [name for name in texts if _is_day(frame[name])]
    return days[0] + BETWEEN + hours[0] if len(hours) == 1 and len(days) == 1 else None


def _is_day(values: pd.Series) -> bool:
    if _is_moment(values):
        return bool((values.dropna() == values.dropna().dt.normalize()).all())
    return _all(values, _DAY)


def _all(values: pd.Series, pattern: str) -> bool:
    if _is_moment(values) or len(values) == 0:
        return False
    return bool(values.astype(str).str.strip().str.fullmatch(pattern).all())


def _text(values: Any) -> Any:
    return pc.utf8_trim_whitespace(
        values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    )


def _is_moment(values: pd.Series) -> bool:
    return values.dtype.kind == "M"
