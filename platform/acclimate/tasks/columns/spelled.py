"""Columns of text that hold numbers after all: switches, numbers as text, words for what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.tasks.sources.text import MISSING

SWITCHES = (
    ("on", "off"),
    ("open", "closed"),
    ("open", "close"),
    ("yes", "no"),
    ("y", "n"),
    ("true", "false"),
    ("t", "f"),
    ("active", "inactive"),
    ("enabled", "disabled"),
    ("detected", "clear"),
    ("running", "stopped"),
)
"""Words of a switch: the first is 1, the second 0."""
MOST_WORDS, FEWEST_NUMBERS, MOSTLY = 10, 20, 0.5


def without_words(values: Any, words: Sequence[str]) -> Any:
    """Text of an Arrow array in which what stands for a missing value is one."""
    trimmed = pc.utf8_trim_whitespace(values)
    absent = pc.is_in(trimmed, pa.array((*MISSING, *words)))
    return pc.if_else(absent, pa.scalar(None, values.type), trimmed)


def switched(values: Any) -> Any:
    """An Arrow array of a switch's words as 1 and 0; None if it holds anything else."""
    lower = pc.utf8_lower(values)
    held = set(pc.unique(lower).drop_null().to_pylist())
    pair = _pair(held)
    if pair is None:
        return None
    return pc.if_else(
        pc.is_null(lower), pa.scalar(None, pa.float64()), pc.cast(pc.equal(lower, pair[0]), pa.float64())
    )


def _pair(held: set[str]) -> tuple[str, str] | None:
    return next((pair for pair in SWITCHES if held and held <= set(pair)), None)


def switch(values: pd.Series) -> tuple[pd.Series, str] | None:
    """A sample's column of a switch as numbers, and the word that is 1; None if it is none."""
    lower = values.astype("string").str.strip().str.lower()
    lower = lower.where(~lower.isin([one.lower() for one in MISSING]))
    held = set(lower.dropna().unique())
    pair = _pair(held)
    if pair is None or len(held) < 2:
        return None
    return (lower == pair[0]).astype("Float64").astype(float), pair[0]


def numbers_in(values: pd.Series) -> tuple[pd.Series, list[str]] | None:
    """A sample's column of text as numbers, and the words among them; None if it holds no numbers, or names.

    Most cells are numbers, of many values; the others are few words, such as `bad` or `unavailable`.
    """
    text = values.astype("string").str.strip()
    text = text.where(~text.isin(list(MISSING)))
    held = text.dropna()
    numbers = pd.to_numeric(held, errors="coerce")
    if numbers.isna().mean() > 1 - MOSTLY:
        numbers = pd.to_numeric(held.str.replace(",", ".", n=1, regex=False), errors="coerce")
    known = numbers.dropna()
    if len(held) == 0 or len(known) < MOSTLY * len(held) or known.nunique() < FEWEST_NUMBERS:
        return None
    if held[numbers.notna()].str.fullmatch(r"0\d+").any() or not np.isfinite(known).all():
        return None
    words = held[numbers.isna()].unique().tolist()
    if len(words) > MOST_WORDS or any(_is_bound(word) for word in words):
        return None
    return numbers.reindex(values.index).astype(float), words


def _is_bound(word: str) -> bool:
    """Whether it tells something of a number, such as `<0.5`, or is one that is written otherwise."""
    return any(letter.isdigit() for letter in word)
