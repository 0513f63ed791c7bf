"""Which type a column of text holds, and its values as that type; nothing is guessed away.

Whole numbers are written as `str` writes them, so that text comes back from them unchanged; `007` is text,
for it names something. A cell that spells a missing value is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.tasks.sources.types import Unfit, first_failing, spoken

MISSING_TEXT = ("", "NaN", "nan", "NULL", "null", "<NA>", "#N/A")  # `None` and `NA` may be classes
MISSING = (*MISSING_TEXT, "NA", "N/A", "n/a", "-nan", "-NaN", "None", "none", "-", "?", "--")
_GROUPED = {
    ",.": (r"^[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)(\.[0-9]*)?$", r",[0-9]{3}(,[0-9]{3}|\.)"),
    ".,": (r"^[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+)(,[0-9]*)?$", r"\.[0-9]{3}(\.[0-9]{3}|,)"),
}
"""By the mark of thousands and that of fractions: every number so written, and one that leaves no doubt."""
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass
class Reading:
    """What a column of text has been found to hold so far; `see` widens it.

    Attributes:
        kind: `nothing`, `whole`, `fraction`, `boolean` or `text`.
        spelled: cells that spell a missing value in some other way than by being empty.
    """

    may_have_commas: bool
    kind: str = "nothing"
    spelled: int = 0
    _comma: bool = False
    _point_seen: bool = False
    _grouped: set[str] = field(default_factory=lambda: set(_GROUPED))
    _sure: set[str] = field(default_factory=set)

    def see(self, values: Any) -> None:
        """Take an Arrow array of text."""
        missing = pc.is_in(values, pa.array(MISSING))
        present = values.filter(pc.invert(missing))
        self.spelled += (
            len(values) - len(present) - pc.sum(pc.equal(values, "")).as_py() if len(values) else 0
        )
        if len(present) == 0:
            return
        if self.kind != "text":
            self._widen(present)
        if self.kind == "text" and self._grouped:
            self._see_groups(present)

    def _see_groups(self, present: Any) -> None:
        """Whether what is no plain number is one whose thousands are parted."""
        if self._point_seen or self._comma:
            self._grouped.discard(".," if self._point_seen else ",.")
        for marks in tuple(self._grouped):
            every, sure = _GROUPED[marks]
            if not pc.all(pc.match_substring_regex(present, every)).as_py():
                self._grouped.discard(marks)
            elif pc.any(pc.match_substring_regex(present, sure)).as_py():
                self._sure.add(marks)

    def _widen(self, present: Any) -> None:
        if self.kind in ("nothing", "boolean"):
            if pc.all(pc.is_in(present, pa.array(list(_BOOLEANS)))).as_py():
                self.kind = "boolean"
                return
            if self.kind == "boolean":
                self.kind = "text"
                return
        if self.kind in ("nothing", "whole"):
            if _is_whole(present):
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
        elif self.may_have_commas and not self._point_seen and _casts(_with_points(present, ",")):
            if pc.any(pc.match_substring(present, ".")).as_py():
                self.kind = "text"
            else:
                self.kind, self._comma = "fraction", True
        else:
            self.kind = "text"

    @property
    def marks(self) -> str:
        """Empty; `,` where fractions have a comma; `,.` or `.,` where thousands are parted too."""
        if self.kind == "text":
            return next((marks for marks in self._grouped & self._sure), "")
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


def typed(column: str, values: Any, target: Any, marks: str) -> Any:
    """Text as `target`: a number, a boolean, or text as it stands.

    Args:
        marks: see `Reading.marks`.

    Raises:
        Unfit: a cell is not what it should be.
    """
    if pa.types.is_null(target):
        return pa.nulls(len(values))
    if pa.types.is_string(target):
        return pc.if_else(pc.is_in(values, pa.array(MISSING_TEXT)), pa.scalar(None, pa.string()), values)
    present = pc.if_else(pc.is_in(values, pa.array(MISSING)), pa.scalar(None, pa.string()), values)

    def convert(part: Any) -> Any:
        return _converted(part, target, marks)

    try:
        return convert(present)
    except pa.ArrowInvalid:
        index = first_failing(present, convert)
        remedy = "correct the cell, or leave it empty where nothing was measured"
        raise Unfit(column, index, values[index].as_py(), spoken(target), remedy) from None


def _converted(values: Any, target: Any, marks: str) -> Any:
    values = pc.utf8_trim_whitespace(values)
    booleans = pc.is_in(values, pa.array(list(_BOOLEANS)))
    if pa.types.is_boolean(target) or pc.any(booleans).as_py():
        numbers = pc.if_else(
            booleans, pc.starts_with(pc.utf8_lower(values), "t"), pa.scalar(None, pa.bool_())
        )
        if pc.all(pc.or_(booleans, pc.is_null(values))).as_py() is not False:
            return pc.cast(numbers, target)
    return pc.cast(_with_points(values, marks) if marks else values, target)


def _with_points(values: Any, marks: str) -> Any:
    if marks in _GROUPED:
        values = pc.replace_substring(values, marks[0], "")
    return values if marks == ",." else pc.replace_substring(values, ",", ".", max_replacements=1)


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
