"""The ways in which text and whole numbers write a moment, as Arrow timestamps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_DAYS = {"day first": ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y"), "month first": ("%m/%d/%Y", "%m-%d-%Y")}
_PLAIN_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d %b %Y", "%b %d %Y")  # read in one way only
_WHOLE = (  # as C, mail, browsers, web servers and calendars write it
    *("%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S", "%a %b %d %Y %H:%M:%S"),
    *("%d/%b/%Y:%H:%M:%S", "%Y%m%dT%H%M%S"),
)
IN_UTC = " UTC"
"""Ends the forms of a moment behind which UTC is written, or GMT, or an offset of nothing."""
_UTC = r"\s*(UTC|GMT|Z|(UTC|GMT)?[+-]00:?00)( \([A-Za-z ]+\))?$"
_FRACTION = ".%f"  # arrow's strptime knows none: read apart
_HOURS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", "T%H:%M:%S.%f")
DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""How whole numbers of so many digits write a moment."""
ISO = ("ISO 8601 with a zone", "ISO 8601")


def forms() -> Iterator[str]:
    """Every way to write a moment as text, the safest first."""
    yield from ISO
    for day in (*chain.from_iterable(_DAYS.values()), *_PLAIN_DAYS):
        yield from (day + hour for hour in _HOURS)
    yield from _WHOLE
    yield from (form + IN_UTC for form in (ISO[1], *_WHOLE))
    yield from (day + hour + IN_UTC for day in _PLAIN_DAYS for hour in _HOURS)


def order(form: str) -> str:
    """Whether day or month comes first; empty where the form leaves no doubt."""
    return next((name for name, days in _DAYS.items() if form.startswith(days)), "")


def fits(values: Any, form: str) -> bool:
    """Whether every value is written like this."""
    try:
        parsed(values, form)
    except pa.ArrowInvalid:
        return False
    return True


def parsed(values: Any, form: str) -> Any:
    """Text as timestamps.

    Raises:
        pyarrow.ArrowInvalid: a value is not written like this.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if form.endswith(IN_UTC):
        if not pc.all(pc.match_substring_regex(values, _UTC)).as_py():
            raise pa.ArrowInvalid("not in UTC")
        return parsed(pc.replace_substring_regex(values, _UTC, ""), form.removesuffix(IN_UTC))
    if form.endswith(_FRACTION):
        return _with_fraction(values, form.removesuffix(_FRACTION))
    if form not in ISO:
        return _of_the_calendar(pc.strptime(values, format=form, unit="us"), values, form)
    zone = "UTC" if form == ISO[0] else None
    if zone and len(values) and (values[0].as_py() or "").endswith("]"):  # Java names the zone once more
        values = pc.replace_substring_regex(values, r"\[[A-Za-z_/+-]+\]$", "")
    try:
        return pc.cast(values, pa.timestamp("us", zone))
    except pa.ArrowInvalid:
        return pc.cast(values, pa.timestamp("ns", zone))


def _of_the_calendar(stamps: Any, values: Any, form: str) -> Any:
    """Refuses what strptime forgives: the year 26 in `10.01.26`, and 30 February, which comes as 2 March."""
    years = pc.min_max(pc.year(stamps))
    if years["min"].is_valid and not 1000 <= years["min"].as_py() <= years["max"].as_py() <= 9999:
        raise pa.ArrowInvalid("years are not written in full")
    early = pc.less_equal(pc.day(stamps), 3)
    again = pc.strftime(pc.cast(stamps.filter(early), pa.timestamp("s"), safe=False), format=form)
    if pc.all(pc.equal(_figures(again), _figures(values.filter(early)))).as_py() is False:  # None of no row
        raise pa.ArrowInvalid("no day of the calendar")
    return stamps


def _figures(texts: Any) -> Any:
    """The numbers in texts, without zeros before them."""
    bare = pc.replace_substring_regex(texts, "[^0-9]+", " ")
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(bare), "(^| )0+([0-9])", "\\1\\2")


def _with_fraction(values: Any, form: str) -> Any:
    if not re.search(r":\d\d[.,]\d", values[0].as_py() or ""):  # spares the work on a whole batch
        raise pa.ArrowInvalid("no fraction of a second")
    parts = pc.extract_regex(values, r"^(?P<whole>.*:\d\d)[.,](?P<fraction>\d{1,9})$")
    if parts.null_count > values.null_count:
        raise pa.ArrowInvalid("no fraction of a second")
    whole = pc.cast(parsed(pc.struct_field(parts, "whole"), form), pa.int64())
    tail = pc.binary_join_element_wise("0", pc.struct_field(parts, "fraction"), ".")
    micros = pc.cast(pc.round(pc.multiply(pc.cast(tail, pa.float64()), 1e6)), pa.int64())
    return pc.cast(pc.add(whole, micros), pa.timestamp("us"))


def digits_of(values: Any, numbers: npt.NDArray[np.float64]) -> set[int]:
    """With how many digits whole numbers write moments; 0 where one does not."""
    if not pa.types.is_integer(values.type) or len(numbers) == 0:
        return {0}
    if numbers.min() < 19_900_101 or numbers.max() > 21_001_231_235_959:
        return {0}
    lengths = set(pc.unique(pc.utf8_length(pc.cast(values.drop_null(), pa.string()))).to_pylist())
    if len(lengths) > 1 or not lengths <= set(DIGITS):
        return {0}
    try:
        of_digits(values)
    except pa.ArrowInvalid:
        return {0}
    return lengths


def of_digits(values: Any) -> Any:
    """Whole numbers such as 20260131140000 as timestamps.

    Raises:
        pyarrow.ArrowInvalid: one is no moment of the calendar.
    """
    text = pc.cast(values, pa.string())
    length = len(next(one for one in text.to_pylist() if one is not None))
    parts = [
        pc.utf8_slice_codeunits(text, at, min(at + step, length)) for at, step in ((0, 4), (4, 2), (6, 2))
    ]
    hours = [pc.utf8_slice_codeunits(text, at, at + 2) if at < length else "00" for at in (8, 10, 12)]
    day, hour = pc.binary_join_element_wise(*parts, "-"), pc.binary_join_element_wise(*hours, ":")
    if isinstance(hour, pa.Scalar):
        hour = pa.repeat(hour, len(text))
    stamps = pc.strptime(pc.binary_join_element_wise(day, hour, " "), format="%Y-%m-%d %H:%M:%S", unit="us")
    # strptime forgives 30 February: it must come back as it was written
    if not pc.all(pc.equal(pc.strftime(stamps, format="%Y-%m-%d"), day)).as_py():
        raise pa.ArrowInvalid("no day of the calendar")
    return stamps
