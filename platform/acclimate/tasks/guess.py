"""A first guess of what the columns of unknown recordings mean, with the reason for each guess.

Only a sample is read. What is guessed is a declaration for `RecordingSchema.from_dict`, to be read and
corrected by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from acclimate.errors import DataError
from acclimate.nearest import did_you_mean
from acclimate.tasks.guesser import ROLES, Guess, Guesser
from acclimate.tasks.halves import halves, joined
from acclimate.tasks.looks import refuse_unreadable_times
from acclimate.tasks.sample import sample
from acclimate.tasks.sources import Source
from acclimate.tasks.wide import long_form, wide_pattern

__all__ = ["Guess", "guess"]

WIDE_TASK, WIDE_VALUE = "series", "value"
LISTS = "holds lists: write a column for each channel and a row for each moment, or declare `image_shape`"


def guess(source: Source, given: Mapping[str, Any]) -> Guess:
    """Guess the declaration of `source`; what is `given` is kept.

    Args:
        given: columns by role (`ROLES`), and `kind`, `window`, `horizon`, `rate`, `wide`.

    Raises:
        DataError: a given column is not there or has two roles, no column can be the task, or none can be a
            channel.
    """
    asked = source, given
    pattern = str(given["wide"]) if "wide" in given else wide_pattern(source)
    if pattern is not None:
        source = long_form(source, pattern, WIDE_TASK, WIDE_VALUE, {str(given.get("time", ""))})
        given = {"task": WIDE_TASK, **given}
    source = joined(source, str(given["time"]) if "time" in given else None)
    named = {key: str(given[key]) for key in ROLES if key in given}
    for key, column in named.items():
        if column not in source.columns:
            hint = did_you_mean(column, source.columns, f"there are {', '.join(map(repr, source.columns))}")
            raise DataError(f"--{key} {column!r} is no column: {hint}")
        twice = [other for other in named if other != key and named[other] == column]
        if twice and {key, twice[0]} != {"task", "group"}:
            raise DataError(f"--{key} and --{twice[0]} both name {column!r}: a column has one role")
    sampled = sample(source)
    if "time" not in given:
        texts = [name for name in sampled.frame.columns if pa.types.is_string(source.types[name])]
        moment = halves(sampled.frame, [name for name in texts if name not in named.values()])
        if moment is not None:
            return guess(asked[0], {**asked[1], "time": moment})
    refuse_unreadable_times(source, sampled.frame, named.get("time"))
    guesser = Guesser(sampled, given)
    lists = (name for name, type_ in source.types.items() if pa.types.is_nested(type_))
    guesser.left_out |= dict.fromkeys(lists, LISTS)
    guessed = guesser.guess()
    if pattern is not None:
        told = "as you said" if "wide" in given else "columns named alike, and none that names a device"
        guessed.declaration["wide"], guessed.reasons["wide"] = pattern, told
    return guessed
