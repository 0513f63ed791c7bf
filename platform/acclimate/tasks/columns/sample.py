"""A sample of recordings as a data frame: the first rows of every batch, so that its stretches are whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns.clock import Clock, guess_clock, may_be_clock
from acclimate.tasks.columns.patterns import is_vague
from acclimate.tasks.columns.periods import names_periods
from acclimate.tasks.columns.words import TIME, WHEN, words
from acclimate.tasks.sources import Source

SAMPLE_ROWS = 400_000
SAMPLE_CELLS = 16_000_000
"""At most, whatever the number of columns: 128 MB as float64."""
EVEN = 0.7
"""Share of the steps that are like the usual one from which on numbers are a clock's."""

_FEWEST_MOMENTS, _GOES_ON = 24, 0.95
"""Different moments, and share of steps to the next, from which on what may name things is a clock."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a source.

    Attributes:
        frame: all scalar columns; what holds times is datetime64, whichever way it is written, in UTC where
            it says its zone: an hour that comes twice is no end of summer time then.
        share: of all rows.
    """

    frame: pd.DataFrame
    share: float


def sample(source: Source, dates: str | None = None, rows: int = SAMPLE_ROWS) -> Sample:
    """About `rows` rows of all scalar columns, in equal shares of every batch.

    Args:
        dates: what comes first in dates, if a person said it.

    Raises:
        DataError: there is no row, or no column but lists.
    """
    columns = [name for name, type_ in source.types.items() if not pa.types.is_nested(type_)]
    if not source.types:
        raise DataError(f"{source.name}: holds no table: the file is empty")
    if not columns:
        raise DataError(f"{source.name}: holds lists only; declare `image_shape` in a recipe of your own")
    share = min(1.0, min(rows, SAMPLE_CELLS // len(columns)) / max(1, source.rows))
    pieces = []
    for batch in source.batches(columns):
        if batch.num_rows == 0:
            continue
        some = max(1, round(share * batch.num_rows))
        first = pa.array(range(some))  # taken, for a slice would keep all of its batch in memory
        arrays = [_scalars(batch.column(name).take(first)) for name in columns]
        pieces.append(pa.table(arrays, names=columns))
    if not pieces:
        raise DataError(f"{source.name}: holds no row")
    table = pa.concat_tables(pieces)
    frame = table.to_pandas().replace([np.inf, -np.inf], np.nan)  # as a pool takes them
    for name in columns:
        column = table.column(name).combine_chunks()
        stamps = _stamps(name, column, dates)
        if stamps is not None:
            frame[name] = stamps
        elif pa.types.is_boolean(column.type) and column.null_count:
            frame[name] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return Sample(frame, len(frame) / max(1, source.rows))


def _scalars(values: Any) -> Any:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _stamps(name: str, values: Any, dates: str | None) -> pd.DatetimeIndex | None:
    """Times that are written as text or as numbers since 1970, as datetime64; None where it holds none."""
    known = values.drop_null()
    if not (pa.types.is_string(values.type) or pa.types.is_integer(values.type) or _is_float(values)):
        return None
    if len(known) < 0.5 * len(values):
        return None
    if not may_be_clock(name, known.slice(0, 1000)):
        return None
    clock = guess_clock(name, known, dates)
    if clock is None or not clock.dated:
        return None
    named = bool(words(name) & set(TIME.split())) or names_periods(name)
    if not named and (
        _is_float(values)
        or ((clock.form == "digits" or is_vague(clock.form)) and not _goes_on(clock, known))
        or not _runs_on(name, known)
    ):
        return None  # 20260131 or `Set 2010` may name something, or a number be measured
    return stamps_of(clock, values)


def stamps_of(clock: Clock, values: Any) -> pd.DatetimeIndex:
    """An Arrow array of a dated column as datetime64, NaT where it holds nothing."""
    stamps = np.full(len(values), np.datetime64("NaT", "us"))
    held = pc.is_valid(values).to_numpy(zero_copy_only=False)
    stamps[held] = (np.round(clock.read(values.drop_null(), str) * 1e6)).astype("datetime64[us]")
    return pd.DatetimeIndex(stamps, tz="UTC" if clock.zoned else None)


def _goes_on(clock: Clock, values: Any) -> bool:
    """Whether what may name things, such as `Set 2010`, goes on from row to row as a clock does."""
    moments = clock.read(values, str)
    steps = np.diff(moments)
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
    alike = (steps > 0.5 * usual) & (steps < 1.5 * usual)
    return len(np.unique(moments)) >= _FEWEST_MOMENTS and bool(alike.mean() > _GOES_ON)


def _runs_on(name: str, values: Any) -> bool:
    """Whether text is written as moments are, or whole numbers change as a clock does, in whatever order.

    They nearly all rise or fall, or a name says when something was, or they are even steps apart.
    """
    if pa.types.is_string(values.type) or words(name) & set(WHEN.split()):
        return True
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
    steps = np.diff(numbers)
    rises = steps[steps != 0] > 0
    if len(rises) == 0:
        return False
    apart = np.diff(np.unique(numbers))
    even = float((np.abs(apart - np.median(apart)) <= 0.5 * np.median(apart)).mean()) > EVEN
    return even or max(rises.mean(), 1 - rises.mean()) > 0.75


def _is_float(values: Any) -> bool:
    return bool(pa.types.is_floating(values.type))
