"""Messages as frozen dataclasses: one declaration gives the reader, the writer and the JSON schema.

Rules every message follows:

* A field with a default may be left out; writers leave out fields that equal their default.
* Readers ignore fields they do not know, so that a newer writer can add some; anything else that does not
  fit (a missing field, a wrong type, a number out of range, NaN) is a `ProtocolError` naming the field.
* Nothing is unbounded: a text, a number or a key that names no bound of its own has that of `Text()` or
  `Number()`, and every array and object says how many entries it holds. So what a peer sends can be stored,
  squared and summed without a thought for overflow.
* A `schema` field is a literal number. It rises when a reader of the old number would misunderstand.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from acclimate_device.errors import ProtocolError
from acclimate_device.protocol.limits import LIMITS

Message = TypeVar("Message")
Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Text:
    """Bounds of a string: a full-match regular expression and a length in characters.

    NUL and halves of surrogate pairs never fit: JSON can write them, databases and UTF-8 cannot.
    """

    pattern: str = ""
    max_length: int = 256


@dataclass(frozen=True)
class Number:
    """Inclusive bounds of a number."""

    minimum: float = -LIMITS.number
    maximum: float = LIMITS.number


@dataclass(frozen=True)
class Items:
    """Bound on how many entries an array or object holds."""

    maximum: int


def read(kind: type[Message], value: object) -> Message:
    """Build a `kind` from JSON types.

    Raises:
        ProtocolError: `value` does not fit; the message starts with the path of the field that does not.
    """
    try:
        result: Message = _reader(kind)(value)
    except _Mismatch as mismatch:
        raise ProtocolError(f"{kind.__name__}{mismatch.path}: {mismatch.reason}") from None
    return result


def write(message: object) -> dict[str, Any]:
    """The JSON types of a message, without the fields that equal their default."""
    result = {}
    for field, default in fields(type(message)):
        value = getattr(message, field)
        if value != default:
            result[field] = plain(value)
    return result


def loads(kind: type[Message], data: bytes, max_bytes: int) -> Message:
    """Parse UTF-8 JSON of at most `max_bytes` bytes and read a `kind` from it.

    Raises:
        ProtocolError: too long, not JSON, a key twice in one object, or not a `kind`.
    """
    return read(kind, parse(kind, data, max_bytes))


def parse(kind: type[object], data: bytes, max_bytes: int) -> Any:
    """The JSON types in UTF-8 JSON of at most `max_bytes` bytes that should be a `kind`.

    Raises:
        ProtocolError: too long, not JSON, or a key twice in one object.
    """
    if len(data) > max_bytes:
        raise ProtocolError(f"{kind.__name__}: {len(data)} bytes, at most {max_bytes} are accepted")
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{kind.__name__}: not JSON ({error})") from None


def dumps(message: object) -> bytes:
    """The canonical JSON of a message: equal messages give equal bytes (see `canonical_json`)."""
    return canonical_json(write(message))


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no white space, UTF-8, no NaN. What is hashed is always these bytes."""
    return _ENCODER.encode(value).encode()


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: str, path: str = "") -> None:
        self.reason, self.path = reason, path

    def under(self, step: str) -> _Mismatch:
        return _Mismatch(self.reason, step + self.path)


def _list_fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, _default(field)) for field in dataclasses.fields(kind))


fields: Callable[[Any], tuple[tuple[str, Any], ...]] = functools.cache(_list_fields)
"""The name and default of each field; a field that must be written gets `MISSING`, which nothing equals."""


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.name == "schema":  # always travels: its absence must never be taken for a number
        return dataclasses.MISSING
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return dataclasses.MISSING


def plain(value: Any) -> Any:
    """A field's value as JSON types."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, tuple):
        return [item if type(item) in _SCALARS else plain(item) for item in value]
    if hasattr(kind, "__dataclass_fields__"):
        return write(value)
    if isinstance(value, Mapping):
        return {key: item if type(item) in _SCALARS else plain(item) for key, item in value.items()}
    return value


def _compile(annotation: Any) -> Reader:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_SCALARS.get(arguments[0]) or _reader(arguments[0]), arguments[1])
    if origin is Literal:
        return functools.partial(_one_of, arguments)
    if origin in (Union, types.UnionType) and all(map(_is_tagged, arguments)):
        return functools.partial(_tagged, {tag: _reader(kind) for kind in arguments for tag in _tags(kind)})
    if origin in (Union, types.UnionType):
        return functools.partial(_first_fit, tuple(_reader(argument) for argument in arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return functools.partial(_array, _reader(arguments[0]))
    if origin is tuple:
        return functools.partial(_row, tuple(_reader(argument) for argument in arguments))
    if origin is Mapping:
        return functools.partial(_object, _reader(arguments[0]), _reader(arguments[1]))
    if dataclasses.is_dataclass(annotation):
        return _dataclass_reader(annotation)
    usual = USUAL.get(annotation)
    return _bounded(_SCALARS[annotation], usual) if usual else _SCALARS[annotation]


_reader: Callable[[Any], Reader] = functools.cache(_compile)
"""A function from JSON types to an annotation, compiled once: reports arrive by the thousand a second."""


def _dataclass_reader(kind: Any) -> Reader:
    """Writes the fields where `kind(**found)` would put them, unless that checks more: being frozen, it makes
    a call for each of them, and reports have dozens."""
    hints = get_type_hints(kind, include_extras=True)
    plan = [(name, _reader(hints[name])) for name, _ in fields(kind)]
    required = {name for name, default in fields(kind) if default is dataclasses.MISSING}
    checked = hasattr(kind, "__post_init__")
    usual = {name: default for name, default in fields(kind) if default is not dataclasses.MISSING}
    fresh = {
        field.name: field.default_factory
        for field in dataclasses.fields(kind)
        if field.default_factory is not dataclasses.MISSING
    }

    def read_fields(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(f"an object is expected, not {_show(value)}")
        found = usual.copy()
        for name, make in fresh.items():
            found[name] = make()
        for name, reader in plan:
            if name in value:
                try:
                    found[name] = reader(value[name])
                except _Mismatch as mismatch:
                    raise mismatch.under(f".{name}") from None
            elif name in required:
                raise _Mismatch("missing", f".{name}")
        if checked:
            return kind(**found)
        made = object.__new__(kind)
        made.__dict__.update(found)
        return made

    return read_fields


def _bounded(reader: Reader, bound: Text | Number | Items) -> Reader:
    if isinstance(bound, Text):
        match = re.compile(bound.pattern).fullmatch if bound.pattern else None
        longest = bound.max_length

        def text(value: Any) -> Any:
            usual = type(value) is str and len(value) <= longest and value.isprintable()
            if usual and (match is None or match(value)):
                return value
            result = reader(value)  # which says what is wrong
            if len(result) > bound.max_length:
                raise _Mismatch(f"{len(result)} characters, at most {bound.max_length} are accepted")
            if match and not match(result):
                raise _Mismatch(f"{_show(value)} does not match {bound.pattern}")
            return result

        return text
    if isinstance(bound, Number):
        lowest, highest = bound.minimum, bound.maximum

        usual = int if reader is _integer else float if reader is _real else None

        def number(value: Any) -> Any:
            if type(value) is usual and lowest <= value <= highest:
                return value
            result = reader(value)
            if not lowest <= result <= highest:
                raise _Mismatch(f"{_show(value)} lies outside {lowest} to {highest}")
            return result

        return number

    def items(value: Any) -> Any:
        if isinstance(value, (list, dict)) and len(value) > bound.maximum:
            raise _Mismatch(f"{len(value)} entries, at most {bound.maximum} are accepted")
        return reader(value)

    return items


def _string(value: Any) -> Any:
    if type(value) is not str:
        raise _Mismatch(f"a string is expected, not {_show(value)}")
    if not value.isprintable() and _UNSTORABLE.search(value):  # the quick look first
        raise _Mismatch("holds NUL or half a surrogate pair: leave it out")
    return value


def _integer(value: Any) -> Any:
    if type(value) is not int or abs(value) > _LARGEST_INTEGER:
        raise _Mismatch(f"an integer below 2^53 is expected, not {_show(value)}")
    return value


def _real(value: Any) -> Any:
    if type(value) not in (int, float) or not -_LARGEST_REAL <= value <= _LARGEST_REAL:
        raise _Mismatch(f"a finite number is expected, not {_show(value)}")
    return float(value)


def _boolean(value: Any) -> Any:
    if type(value) is not bool:
        raise _Mismatch(f"true or false is expected, not {_show(value)}")
    return value


def _null(value: Any) -> Any:
    if value is not None:
        raise _Mismatch(f"null is expected, not {_show(value)}")
    return None


_LARGEST_INTEGER = 2**53 - 1  # what JSON readers in other languages keep exactly
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
USUAL: Mapping[Any, Text | Number] = {
    str: Text(),
    int: Number(-_LARGEST_INTEGER, _LARGEST_INTEGER),
    float: Number(),
}
"""The bounds of a field that names none."""
_LARGEST_REAL = 1.7976931348623157e308
_SCALARS: dict[Any, Reader] = {
    str: _string,
    int: _integer,
    float: _real,
    bool: _boolean,
    types.NoneType: _null,
}


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise _Mismatch(f"{_show(value)} is not one of {', '.join(map(repr, choices))}")
    return value


def _first_fit(readers: tuple[Reader, ...], value: Any) -> Any:
    mismatch = _Mismatch("fits nothing")
    for reader in readers:
        try:
            return reader(value)
        except _Mismatch as one:
            mismatch = one if not mismatch.path or one.path else mismatch
    raise mismatch


def _is_tagged(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and any(name == "kind" for name, _ in fields(kind))


def _tags(kind: Any) -> tuple[str, ...]:
    """What a dataclass's field `kind`, a literal, may hold; None where it may be left out."""
    tags: tuple[str, ...] = get_args(get_type_hints(kind)["kind"])
    return tags if dict(fields(kind))["kind"] is dataclasses.MISSING else (*tags, "")


def _tagged(kinds: Mapping[str, Reader], value: Any) -> Any:
    """The message whose `kind` the object names; the one that may leave it out, where it names none."""
    if type(value) is not dict:
        raise _Mismatch(f"an object is expected, not {_show(value)}")
    found = kinds.get(value.get("kind", "")) if type(value.get("kind", "")) is str else None
    if found is None:
        raise _Mismatch(f"{_show(value.get('kind'))} is not one of {', '.join(filter(None, kinds))}", ".kind")
    return found(value)


def _array(reader: Reader, value: Any) -> Any:
    if type(value) is not list:
        raise _Mismatch(f"an array is expected, not {_show(value)}")
    try:
        return tuple([reader(item) for item in value])
    except _Mismatch:
        pass
    for index, item in enumerate(value):  # once more, for which one it was
        try:
            reader(item)
        except _Mismatch as mismatch:
            raise mismatch.under(f"[{index}]") from None
    raise AssertionError("a reader gives the same answer twice")


def _row(readers: tuple[Reader, ...], value: Any) -> Any:
    if type(value) is not list or len(value) != len(readers):
        raise _Mismatch(f"an array of {len(readers)} is expected, not {_show(value)}")
    return tuple([reader(item) for reader, item in zip(readers, value, strict=True)])


def _object(key_reader: Reader, reader: Reader, value: Any) -> Any:
    if type(value) is not dict:
        raise _Mismatch(f"an object is expected, not {_show(value)}")
    result = {}
    for key, item in value.items():
        try:
            result[key_reader(key)] = reader(item)
        except _Mismatch as mismatch:
            raise mismatch.under(f"[{key!r}]") from None
    return result


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
