"""One type for a column that differs from file to file: promoted where no value changes, else refused."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError

FILE = "file"
"""The column with each file's path below the source, where there is more than one file."""
FOLDER = "folder"
"""The column with the folder that each file lies in, where there is more than one."""
NAME = "filename"
"""The column with each file's bare name, where one comes again in another folder."""
PLACES = (FILE, FOLDER, NAME)
_UNITS = ("s", "ms", "us", "ns")


@dataclass(frozen=True)
class Column:
    """A column of one part.

    Attributes:
        type: its Arrow type, as `plain` has it.
        written: the part holds text, of which the type was read: it can be text after all.
    """

    type: Any
    written: bool = False


class Unfit(Exception):  # noqa: N818 - the source turns it into a DataError with the file and row
    """A value that its column's type cannot hold."""

    def __init__(self, column: str, index: int, value: object, wanted: str, remedy: str) -> None:
        super().__init__(column, index)
        self.column, self.index, self.value, self.wanted, self.remedy = column, index, value, wanted, remedy


def plain(type_: Any) -> Any:
    """The type of a column's values, whatever their encoding: text is one type, decimals are fractions,
    durations are seconds, times of day as people write them, bytes are text, those of one length hexadecimal.
    """
    if isinstance(type_, pa.BaseExtensionType):
        return plain(type_.storage_type)
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return plain(type_.value_type)
    if _is_text(type_):
        return pa.string()
    if pa.types.is_decimal(type_) or pa.types.is_duration(type_):
        return pa.float64()
    if pa.types.is_time(type_) or _is_bytes(type_):
        return pa.string()
    if pa.types.is_float16(type_):
        return pa.float32()
    if pa.types.is_date(type_):
        return pa.timestamp("s" if pa.types.is_date32(type_) else "ms")
    if pa.types.is_timestamp(type_) and type_.tz:
        return pa.timestamp(type_.unit, "UTC")
    return type_


def unified(
    parts: Sequence[tuple[str, Mapping[str, Column], int]],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """One type for each column of parts (name, columns, rows), and what was promoted to get there.

    Raises:
        DataError: two parts hold types of a column that no common type keeps; empty parts do not count.
    """
    types: dict[str, Column] = {}
    first: dict[str, str] = {}
    held: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
    lacking: dict[str, list[str]] = {}
    filled = [part for part in parts if part[2] > 0] or list(parts)[:1]
    every = dict.fromkeys(name for _, columns, _ in filled for name in columns)
    _refuse_spellings(filled)
    for part, columns, rows in filled:
        for name in every:
            if name not in columns:
                lacking.setdefault(name, []).append(part)
                continue
            found = columns[name]
            held[name][found.type] += rows
            if name not in types or pa.types.is_null(types[name].type):
                types[name], first[name] = found, part
                continue
            common = _joined(types[name], found)
            if common is None:
                raise DataError(
                    f"column {name!r} holds {spoken(types[name].type)} in {first[name]} and "
                    f"{spoken(found.type)} in {part}: {_remedy(types[name].type, found.type)}"
                )
            types[name] = common
    notes = [*_promotions(types, held), *_lacks(lacking, len(filled))]
    return {name: types[name].type for name in every}, tuple(notes)


def _refuse_spellings(parts: Sequence[tuple[str, Mapping[str, Column], int]]) -> None:
    """A column that one file calls `Flow` and another `flow`, or that some files give no name, is one."""
    first: dict[str, tuple[str, str, Mapping[str, Column]]] = {}
    for part, columns, _ in parts:
        for name in columns:
            alike = unicodedata.normalize("NFKC", name).casefold().strip()
            known, where, others = first.setdefault(alike, (name, part, columns))
            if name not in others and known not in columns:
                raise DataError(
                    f"column {known!r} of {where} is called {name!r} in {part}: write it alike in every file"
                )
    named = [part for part, columns, _ in parts if not _is_nameless(columns)]
    nameless = [part for part, columns, _ in parts if _is_nameless(columns)]
    widths = {len(_own(columns)): part for part, columns, _ in reversed(parts) if part in nameless}
    if len(widths) > 1:
        (few, one), (many, other) = sorted(widths.items())[:2]
        rows = {part: rows for part, _, rows in parts}
        paste = f", such as with `paste -d' ' {one} {other}`" if rows[one] == rows[other] else ""
        raise DataError(
            f"{one} and {other} have no header, and {few} and {many} columns, so nothing says which are the "
            f"same: join what belongs together in one file{paste}, with a header, or name files of one kind"
        )
    if named and nameless:
        raise DataError(
            f"{nameless[0]} has no header, and {named[0]} has one: write the same header in every file"
        )


def _is_nameless(columns: Mapping[str, Column]) -> bool:
    return all(name == f"column {at + 1}" for at, name in enumerate(_own(columns)))


def _own(columns: Mapping[str, Column]) -> list[str]:
    """The columns that are in a file and not told by its place."""
    return [name for name in columns if name not in PLACES]


def spoken(type_: Any) -> str:
    """A type in a person's words."""
    if pa.types.is_integer(type_):
        return "whole numbers"
    if pa.types.is_floating(type_):
        return "numbers"
    if pa.types.is_timestamp(type_):
        return "timestamps with a time zone" if type_.tz else "timestamps without a time zone"
    if _is_text(type_):
        return "text"
    return "nothing" if pa.types.is_null(type_) else str(type_)


def cast(column: str, values: Any, target: Any) -> Any:
    """`values` as `target`, every one unchanged.

    Raises:
        Unfit: one would change.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if pa.types.is_fixed_size_binary(values.type):
        return _hexadecimal(values)
    if pa.types.is_dictionary(values.type) and _is_text(target):
        return values  # as short as it came; its values are taken one by one
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_duration(values.type):
        values = pc.divide(pc.cast(pc.cast(values, pa.duration("ns")), pa.int64()), 1e9)
    if values.type.equals(target):
        return values
    safe = not pa.types.is_decimal(values.type)

    def convert(part: Any) -> Any:
        return pc.cast(part, target, safe=safe)

    try:
        return convert(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        index = first_failing(values, convert)
        remedy = "it would change; repair it, or write the column with one type in every file"
        raise Unfit(column, index, values[index].as_py(), spoken(target), remedy) from None


def _hexadecimal(values: Any) -> Any:
    """Bytes as text, made once of each that differs, for they name something."""
    encoded = values.dictionary_encode()
    names = [one.hex() for one in encoded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(names, pa.string()))


def first_failing(values: Any, convert: Callable[[Any], Any]) -> int:
    """The index of the first value that `convert` refuses, found by halving."""
    begin, end = 0, len(values)
    while end - begin > 1:
        middle = (begin + end) // 2
        try:
            convert(values.slice(begin, middle - begin))
            begin = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            end = middle
    return begin


def _joined(one: Column, other: Column) -> Column | None:
    common = _common(one.type, other.type)
    if common is not None:
        return Column(common, one.written and other.written)
    return Column(pa.string(), written=True) if one.written and other.written else None


def _common(one: Any, other: Any) -> Any:
    if (
        one.equals(other)
        or pa.types.is_null(other)
        or (pa.types.is_nested(one) and pa.types.is_nested(other))
    ):
        return one  # lists are refused where they are read
    if pa.types.is_null(one):
        return other
    if is_number(one) and is_number(other):
        if pa.types.is_floating(one) and pa.types.is_floating(other):
            return pa.float64()
        if pa.types.is_floating(one) or pa.types.is_floating(other):
            return pa.float64()
        return pa.int64()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and bool(one.tz) == bool(other.tz):
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), one.tz)
    return None


def is_number(type_: Any) -> bool:
    """Whether it holds numbers, or booleans, which are 0 and 1."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_))


def _is_bytes(type_: Any) -> bool:
    """Whether it holds bytes, which some writers make of text, and all of names of one length."""
    return bool(
        pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_)
    )


def _is_text(type_: Any) -> bool:
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    )


def _remedy(one: Any, other: Any) -> str:
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        return "no order holds for both; write both with a zone, or both without"
    return "write the column with one type in every file"


def _promotions(types: Mapping[str, Column], held: Mapping[str, Mapping[Any, int]]) -> Iterator[str]:
    for name, found in held.items():
        for type_, rows in found.items():
            into = types[name].type
            if not type_.equals(into) and not pa.types.is_null(type_):
                yield (
                    f"column {name!r}: {spoken(type_)} ({type_}) read as {spoken(into)} ({into}), as other "
                    f"files hold them: {rows:,} row(s)"
                )


def _lacks(lacking: Mapping[str, list[str]], parts: int) -> Iterator[str]:
    for name, files in lacking.items():
        yield f"column {name!r} is not in {len(files)} of {parts} files, first {files[0]}: missing there"
