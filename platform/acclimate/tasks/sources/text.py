"""Which type a column of text holds, and its values as that type; nothing is guessed away.

Whole numbers are written as `str` writes them, so that text comes back from them unchanged; `007` is text,
for it names something. A cell that spells a missing value is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.tasks.sources.types import Unfit, first_failing, spoken

MISSING_TEXT = ("", "NaN", "nan", "NULL", "null", "<NA>", "#N/A")  # `None` and `NA` may be classes
MISSING = (*MISSING_TEXT, "NA", "N/A", "n/a", "-nan", "-NaN", "None", "none", "-", "?", "--")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass
class Reading:
    """What a column of text has been found to hold so far; `see` widens it.

    Attributes:
        kind: `nothing`, `whole`, `fraction`, `boolean` or `text`.
        comma: fractions are written with a decimal comma.
        spelled: cells that spell a missing value in some other way than by being empty.
    """

    may_have_commas: bool
    kind: str = "nothing"
    comma: bool = False
    spelled: int = 0
    _point_seen: bool = False

    def see(self, values: Any) -> None:
        """Take an Arrow array of text."""
        missing = pc.is_in(values, pa.array(MISSING))
        present = values.filter(pc.invert(missing))
        self.spelled += (
            len(values) - len(present) - pc.sum(pc.equal(values, "")).as_py() if len(values) else 0
        )
        if len(present) == 0 or self.kind == "text":
            return
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
            if self.kind == "whole" and _has_leading_zero(present):
                self.kind = "text"
                return
        self._see_fractions(present)

    def _see_fractions(self, present: Any) -> None:
        if not self.comma and _casts(present):
            self._point_seen |= bool(pc.any(pc.match_substring(present, ".")).as_py())
            self.kind = "text" if self.kind == "nothing" and _has_leading_zero(present) else "fraction"
        elif self.may_have_commas and not self._point_seen and _casts(_with_points(present)):
            if pc.any(pc.match_substring(present, ".")).as_py():
                self.kind = "text"
            else:
                self.kind, self.comma = "fraction", True
        else:
            self.kind = "text"

    @property
    def type(self) -> Any:
        """The Arrow type of what was found."""
        types = {"whole": pa.int64(), "fraction": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}
        return types.get(self.kind, pa.null())


def typed(column: str, values: Any, target: Any, comma: bool) -> Any:
    """Text as `target`: a number, a boolean, or text as it stands.

    Raises:
        Unfit: a cell is not what it should be.
    """
    if pa.types.is_null(target):
        return pa.nulls(len(values))
    if pa.types.is_string(target):
        return pc.if_else(pc.is_in(values, pa.array(MISSING_TEXT)), pa.scalar(None, pa.string()), values)
    present = pc.if_else(pc.is_in(values, pa.array(MISSING)), pa.scalar(None, pa.string()), values)

    def convert(part: Any) -> Any:
        return _converted(part, target, comma)

    try:
        return convert(present)
    except pa.ArrowInvalid:
        index = first_failing(present, convert)
        remedy = "correct the cell, or leave it empty where nothing was measured"
        raise Unfit(column, index, values[index].as_py(), spoken(target), remedy) from None


def _converted(values: Any, target: Any, comma: bool) -> Any:
    values = pc.utf8_trim_whitespace(values)
    booleans = pc.is_in(values, pa.array(list(_BOOLEANS)))
    if pa.types.is_boolean(target) or pc.any(booleans).as_py():
        numbers = pc.if_else(
            booleans, pc.starts_with(pc.utf8_lower(values), "t"), pa.scalar(None, pa.bool_())
        )
        if pc.all(pc.or_(booleans, pc.is_null(values))).as_py() is not False:
            return pc.cast(numbers, target)
    return pc.cast(_with_points(values) if comma else values, target)


def _with_points(values: Any) -> Any:
    return pc.replace_substring(values, ",", ".", max_replacements=1)


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


def _has_leading_zero(values: Any) -> bool:
    found = pc.and_(pc.starts_with(values, "0"), pc.match_substring_regex(values, "^0[0-9]+$"))
    return bool(pc.any(found).as_py())
