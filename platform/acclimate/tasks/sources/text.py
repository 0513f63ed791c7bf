"""Which type a column of text holds, and its values as that type; nothing is guessed away.

Whole numbers are written as `str` writes them, so that text comes back from them unchanged; `007` is text,
for it names something. A cell that spells a missing value is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.tasks.sources.types import Unfit, first_failing, spoken

MISSING_TEXT = ("", "NaN", "nan", "NULL", "null", "<NA>", "#N/A")  # `None` and `NA` may be classes
_WORKBOOK = ("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!", "#N/A N/A")
_DASHES = ("-", "--", "---", "\u2013", "\u2014", "?", "*", "***", ".", "...")
_WORDS = ("NA", "N/A", "n/a", "n.a.", "None", "none", "nil", "(null)", "\\N", "-nan", "-NaN", "-nan(ind)")
MISSING = (*MISSING_TEXT, *_WORDS, *_DASHES, *_WORKBOOK, "1.#QNAN", "-1.#IND", "1.#INF", "-1.#INF")
"""What stands for a missing value in a column of numbers."""
FEWEST_MEASURED = 10
"""Different numbers that one unit follows from which on they were measured, and are no names or classes."""
_THOUSANDS = {
    ",": ",",
    ".": r"\.",
    "'": "'",
    "\u2019": "\u2019",
    " ": " ",
    "\u00a0": "\u00a0",
    "\u202f": "\u202f",
}
_GROUPED = {
    thousand + mark: (
        rf"^[+-]?([0-9]+|[0-9]{{1,3}}({sign}[0-9]{{3}})+)({re.escape(mark)}[0-9]*)?$",
        rf"{sign}[0-9]{{3}}({sign}[0-9]{{3}}|{re.escape(mark)})"
        if thousand in ",."
        else rf"{sign}[0-9]{{3}}{re.escape(mark)}",
        rf"{sign}[0-9]{{3}}$",
    )
    for thousand, sign in _THOUSANDS.items()
    for mark in ",."
    if thousand != mark
}
"""By the mark of thousands and that of fractions: every number so written, one that leaves no doubt, and one
that leaves none beside a number below a thousand without a fraction."""
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SPELLED_BACK = ("True", "False")
"""Whose text comes back as it stood where such a column names devices or classes; `TRUE` and `false` stay
text, which channels read as a switch's words."""
_MINUS = "\u2212"
_FRACTION = r"^[+-]?[0-9]+,([0-9]{1,2}|[0-9]{4,})$"
_MEASURED = (
    r"^\s*(?P<number>[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>[^0-9\s.,:/+-][^0-9:]{0,11})\s*$"
)
_SPOKEN = {
    ",": "a comma",
    ".": "a point",
    "'": "an apostrophe",
    "\u2019": "an apostrophe",
    " ": "a blank",
    "\u00a0": "a blank",
    "\u202f": "a blank",
}


@dataclass
class Reading:
    """What a column of text has been found to hold so far; `see` widens it.

    Attributes:
        may_have_commas: fractions can be written with a comma, for none parts the columns.
        absent: words that stand for a missing value, besides `MISSING`.
        kind: `nothing`, `whole`, `fraction`, `boolean` or `text`.
        spelled: cells that spell a missing value in some other way than by being empty.
        unit: what follows every number, such as `l/min`; empty where nothing does.
        padded: blanks stand around every cell.
        minus: negative numbers begin with the sign of typesetters, U+2212.
    """

    may_have_commas: bool
    absent: tuple[str, ...]
    kind: str = "nothing"
    spelled: int = 0
    unit: str = ""
    padded: bool = True
    _seen: bool = False
    minus: bool = False
    _comma: bool = False
    _point_seen: bool = False
    _grouped: set[str] = field(default_factory=lambda: set(_GROUPED))
    _sure: set[str] = field(default_factory=set)
    _short: bool = False

    def see(self, values: Any) -> None:
        """Take an Arrow array of text."""
        if self.padded:
            self.padded = _is_padded(values)
        values = pc.utf8_trim_whitespace(values) if self.padded else values
        missing = pc.is_in(values, pa.array((*MISSING, *self.absent)))
        present = values.filter(pc.invert(missing))
        self.spelled += (
            len(values) - len(present) - pc.sum(pc.equal(values, "")).as_py() if len(values) else 0
        )
        if len(present) == 0:
            return
        if not self._seen:
            self.unit, self._seen = _unit(present), True
        if self.unit:
            numbers = _bare(present, self.unit)
            if numbers is None:
                self.unit, self.kind, self._grouped = "", "text", set()
                return
            present = numbers
        before = self.kind
        if before != "text":
            self._widen(pc.replace_substring(present, _MINUS, "-") if self.minus else present)
        if before != "text" == self.kind and pc.any(pc.match_substring(present, _MINUS)).as_py():
            self.minus, self.kind = True, before
            self._widen(pc.replace_substring(present, _MINUS, "-"))
        if self.kind == "text" and self._grouped:
            self._see_groups(present)

    def _see_groups(self, present: Any) -> None:
        """Whether what is no plain number is one whose thousands are parted."""
        if self._point_seen or self._comma:
            lost = "," if self._point_seen else "."
            self._grouped = {marks for marks in self._grouped if marks[1] != lost}
        for marks in tuple(self._grouped):
            every, sure, _ = _GROUPED[marks]
            if not pc.all(pc.match_substring_regex(present, every)).as_py():
                self._grouped.discard(marks)
            elif pc.any(pc.match_substring_regex(present, sure)).as_py():
                self._sure.add(marks)
        self._short |= bool(pc.any(pc.match_substring_regex(present, "^[+-]?[0-9]{1,3}$")).as_py())
        for marks in self._grouped - self._sure if self._short else ():
            # 6,500 beside 950: fractions of three digits would stand in both
            plain = marks[0] not in ",." or (marks == ",." and not self.may_have_commas)
            if plain and pc.any(pc.match_substring_regex(present, _GROUPED[marks][2])).as_py():
                self._sure.add(marks)

    def _widen(self, present: Any) -> None:
        if self.kind in ("nothing", "boolean"):
            if pc.all(pc.is_in(present, pa.array(_SPELLED_BACK))).as_py():
                self.kind = "boolean"
                return
            if self.kind == "boolean":
                self.kind = "text"
                return
        if self.kind in ("nothing", "whole"):
            if _is_whole(present):
                self._short |= bool(pc.any(pc.match_substring_regex(present, "^[+-]?[0-9]{1,3}$")).as_py())
                self.kind = "whole"
                return
            if (_has_leading_zero(present) and self.kind == "whole") or _is_too_long(present):
                self.kind = "text"
                return
        self._see_fractions(present)

    def _see_fractions(self, present: Any) -> None:
        if not self._comma and _casts(present):
            self._point_seen |= bool(pc.any(pc.match_substring(present, ".")).as_py())
            self.kind = "text" if self.kind == "nothing" and _has_leading_zero(present) else "fraction"
        elif self._may_be_comma(present) and not self._point_seen and _casts(_with_points(present, ",")):
            if pc.any(pc.match_substring(present, ".")).as_py():
                self.kind = "text"
            else:
                self.kind, self._comma = "fraction", True
        else:
            self.kind = "text"

    def _may_be_comma(self, present: Any) -> bool:
        """Whether a comma can begin fractions: where it parts columns too, many were measured, with a sign or
        of different lengths, and some have not three digits behind it; `1,2` may name a pair."""
        if self.may_have_commas or self._comma:
            return True
        lengths = pc.min_max(pc.utf8_length(present)).as_py()
        return (
            len(pc.unique(present)) >= FEWEST_MEASURED
            and (
                lengths["min"] != lengths["max"] or pc.any(pc.match_substring_regex(present, "^[+-]")).as_py()
            )
            and bool(pc.any(pc.match_substring_regex(present, _FRACTION)).as_py())
        )

    @property
    def marks(self) -> str:
        """Empty; `,` where fractions have a comma; `,.` or `.,` and others where thousands are parted too."""
        if self.kind == "text":
            return next(iter(sorted(self._grouped & self._sure)), "")
        return "," if self._comma else ""

    @property
    def is_text(self) -> bool:
        return self.kind == "text" and not self.marks

    @property
    def type(self) -> Any:
        """The Arrow type of what was found."""
        if self.marks in _GROUPED:
            return pa.float64()
        types = {"whole": pa.int64(), "fraction": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}
        return types.get(self.kind, pa.null())

    def notes(self) -> Iterator[str]:
        """What of its cells is not read as it stands."""
        if self.padded and self.kind == "text":
            yield "blanks around every cell cut off"
        if self.is_text:
            return
        if self.unit:
            yield f"{self.unit!r} after every number cut off"
        if self.minus:
            yield "negative numbers begin with U+2212, read as a minus"
        if self.marks == ",":
            yield "fractions are written with a comma"
        elif self.marks:
            yield f"thousands are parted by {_SPOKEN[self.marks[0]]}"
        if self.spelled:
            words = f"words such as 'NaN'{' and those of `absent`' if self.absent else ''}"
            yield f"{words} read as missing"


def typed(column: str, values: Any, target: Any, reading: Reading) -> Any:
    """Text as `target`: a number, a boolean, or text as it stands.

    Raises:
        Unfit: a cell is not what it should be.
    """
    if pa.types.is_null(target):
        return pa.nulls(len(values))
    if reading.padded:
        values = pc.utf8_trim_whitespace(values)
    nothing = pa.scalar(None, pa.string())
    if pa.types.is_string(target):
        return pc.if_else(pc.is_in(values, pa.array(MISSING_TEXT)), nothing, values)
    present = pc.if_else(pc.is_in(values, pa.array((*MISSING, *reading.absent))), nothing, values)

    def convert(part: Any) -> Any:
        return _converted(part, target, reading)

    try:
        return convert(present)
    except pa.ArrowInvalid:
        index = first_failing(present, convert)
        remedy = "correct the cell, or leave it empty where nothing was measured"
        raise Unfit(column, index, values[index].as_py(), spoken(target), remedy) from None


def _converted(values: Any, target: Any, reading: Reading) -> Any:
    values = pc.utf8_trim_whitespace(values)
    if reading.minus:
        values = pc.replace_substring(values, _MINUS, "-")
    if reading.unit:
        values = pc.struct_field(pc.extract_regex(values, _MEASURED), "number")
    booleans = pc.is_in(values, pa.array(list(_BOOLEANS)))
    if pa.types.is_boolean(target) or pc.any(booleans).as_py():
        numbers = pc.if_else(
            booleans, pc.starts_with(pc.utf8_lower(values), "t"), pa.scalar(None, pa.bool_())
        )
        if pc.all(pc.or_(booleans, pc.is_null(values))).as_py() is not False:
            return pc.cast(numbers, target)
    return pc.cast(_with_points(values, reading.marks) if reading.marks else values, target)


def _unit(present: Any) -> str:
    """The one unit that follows every number; empty where there is none, or are several."""
    first = re.fullmatch(_MEASURED, present[0].as_py())
    unit = first["unit"].strip() if first else ""
    numbers = _bare(present, unit) if unit else None
    if numbers is None or not pc.all(pc.match_substring_regex(numbers, "[0-9]$")).as_py():
        return ""
    if len(pc.unique(numbers)) < FEWEST_MEASURED:
        return ""  # `1A` and `10 %` may name something
    by_look = not unit.isalpha() or " " in present[0].as_py().strip()
    return unit if by_look or pc.any(pc.match_substring_regex(numbers, "[.,][0-9]")).as_py() else ""


def _bare(present: Any, unit: str) -> Any:
    """The numbers without what follows them; None where something else does, or no number is before it."""
    parts = pc.extract_regex(present, _MEASURED)
    if parts.null_count:
        return None
    same = pc.equal(pc.utf8_trim_whitespace(pc.struct_field(parts, "unit")), unit)
    return pc.struct_field(parts, "number") if pc.all(same).as_py() else None


def _is_padded(values: Any) -> bool:
    """Whether blanks stand before or after every cell that holds something."""
    held = values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    return len(held) == 0 or bool(pc.all(pc.match_substring_regex(held, r"^\s|\s$")).as_py())


def _with_points(values: Any, marks: str) -> Any:
    if marks in _GROUPED:
        values = pc.replace_substring(values, marks[0], "")
    return values if marks[-1] == "." else pc.replace_substring(values, ",", ".", max_replacements=1)


def _casts(values: Any) -> bool:
    try:
        pc.cast(pc.utf8_trim_whitespace(values), pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _is_whole(values: Any) -> bool:
    if _has_leading_zero(values):
        return False
    try:
        numbers = pc.cast(values, pa.int64())
    except pa.ArrowInvalid:
        return False
    return bool(pc.all(pc.equal(pc.cast(numbers, pa.string()), values)).as_py())


def _is_too_long(values: Any) -> bool:
    """Whether whole numbers are among them that no float64 keeps, such as serial numbers."""
    return bool(pc.any(pc.match_substring_regex(values, "^[+-]?[0-9]{17,}$")).as_py()) and not _is_whole(
        values
    )


def _has_leading_zero(values: Any) -> bool:
    found = pc.and_(pc.starts_with(values, "0"), pc.match_substring_regex(values, "^0[0-9]+$"))
    return bool(pc.any(found).as_py())
