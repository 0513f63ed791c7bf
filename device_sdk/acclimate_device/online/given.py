"""What an application hands in, whatever library it comes from, as numbers of the device's own.

Never a view: applications fill their buffers again, and an input may wait for its label for hours.
"""

from __future__ import annotations

import datetime as dt
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from acclimate_device.errors import InputError
from acclimate_device.protocol import LIMITS

_SET_BACK_S = 2 * 3600.0
_NO_NUMBERS = {"c": "complex numbers", "m": "lengths of time", "M": "dates", "V": "records"}


def numbers(given: Any, dtype: DTypeLike) -> NDArray[Any]:
    """A copy as an array; NaN for what is masked or None. The caller checks the shape.

    Raises:
        ValueError: it is not numbers, and what it is instead.
    """
    try:
        found = np.asarray(_unmasked(given))
        if found.dtype.kind not in _NO_NUMBERS:
            return found.astype(dtype)
    except Exception as error:  # another library's array raises what it likes
        told = str(error).strip()
        raise ValueError(f"{type(given).__name__}{f' ({told})' if told else ''}"[:300]) from None
    raise ValueError(_NO_NUMBERS[found.dtype.kind])


def by_name(given: Any, channels: Sequence[str]) -> Any:
    """The channels' values in order, where they have names: of a mapping, a named tuple, a row or table of
    pandas, an array with fields, a row of sqlite3; else what was given.

    Raises:
        InputError: a channel is missing.
    """
    if (type(given) is np.ndarray and given.dtype.names is None) or type(given) in (list, tuple):
        return given
    if hasattr(given, "_asdict"):
        given = given._asdict()
    names = getattr(getattr(given, "dtype", None), "names", None) or _keys(given)
    if not isinstance(given, Mapping) and not any(channel in names for channel in channels):
        return given
    missing = [channel for channel in channels if channel not in names]
    if missing:
        raise InputError(f"the input has no channel {missing[0]!r}: give {tuple(channels)}")
    return [given[channel] for channel in channels]


def row(given: Any, channels: Sequence[str], dtype: DTypeLike) -> NDArray[Any]:
    """One number a channel, in order or by name; NaN where nothing was measured.

    Raises:
        InputError: it is not that.
    """
    named = by_name(given, channels)
    try:
        found = numbers(named, dtype).reshape(-1)
    except ValueError:
        raise InputError(f"the row {shown(given)} is not numbers: give {tuple(channels)}") from None
    if found.shape != (len(channels),):
        raise InputError(f"the row holds {found.size} numbers: give one for each of {tuple(channels)}")
    return found


def seconds(moment: Any, unit_s: float) -> float:
    """A moment as a number, in units of `unit_s` seconds since 1970; dates as written, without a zone as UTC.

    Raises:
        InputError: it is no moment, or none that a calendar has.
    """
    try:
        if isinstance(moment, np.datetime64):  # float() takes one of nanoseconds for seconds
            moment = moment.astype("datetime64[us]").item() or math.nan
        if isinstance(moment, dt.datetime):
            at = moment.replace(tzinfo=moment.tzinfo or dt.UTC).timestamp()
        else:
            at = float(moment)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"the time {shown(moment)} is neither seconds nor a date and time") from None
    if not abs(at * unit_s) <= LIMITS.time_s[1]:  # or not a number
        raise InputError(
            f"the time of the row is {at:g}, which no calendar has: give seconds since 1970, not thousandths "
            "or less, or the recordings' own unit"
        )
    return at


def set_back(latest: float, moment: float, unit_s: float) -> bool:
    """Whether a clock was set back: by more than the hour that local time repeats in autumn."""
    return (latest - moment) * unit_s > _SET_BACK_S


def shown(value: object) -> str:
    """A value as an error quotes it: not a page of it."""
    try:
        return reprlib.repr(value)
    except Exception:
        return f"a {type(value).__name__}"


def _unmasked(given: Any) -> Any:
    """NaN for what is masked, in an array or in one of a list of them: numpy would give what lies below."""
    if isinstance(given, np.ma.MaskedArray):
        return np.ma.filled(given.astype(np.float64), np.nan) if given.dtype.kind in "biuf" else given
    if type(given) in (list, tuple) and any(isinstance(one, np.ma.MaskedArray) for one in given):
        return [_unmasked(one) for one in given]
    return given


def _keys(given: Any) -> Sequence[Any]:
    keys = getattr(given, "keys", None)
    return list(keys()) if callable(keys) else ()
