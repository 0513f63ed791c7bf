"""A JSON document as one object a line: arrays of objects, nested or within an outer object."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

_BETWEEN = re.compile(r"[\s,\[\]]*")
_ROWS = ("values", "data", "dataset", "rows")
"""What people call the rows beside `columns`."""
_SINGLE = re.compile(rb'\{\s*("(?:[^"\\]|\\.)*")\s*:\s*\[\s*\{\s*"(?:ts|value)"\s*:')
_BLANKS = b"\xef\xbb\xbf \t\r\n"


def only_key(head: bytes) -> str | None:
    """What the list of moments is called with which a document begins, as of ThingsBoard; None in others."""
    found = _SINGLE.match(head.lstrip(_BLANKS))
    return str(json.loads(found[1])) if found else None


def is_document(head: bytes) -> bool:
    """Whether a file that begins with `head` is one JSON document, not an object a line."""
    first, _, rest = head.lstrip(_BLANKS).partition(b"\n")
    if first.startswith(b"["):
        return True
    try:
        json.loads(first)
    except ValueError:
        return first.startswith(b"{") and (b"}" not in first or not rest)
    return not rest.strip()  # a line that may hold all objects


def as_lines(head: bytes, file: Any, block_bytes: int) -> Iterator[bytes]:
    """Blocks of lines with an object each, of a document that begins with `head` and goes on in `file`.

    Raises:
        ValueError: it is no JSON, or holds no list of objects.
    """
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    rest, block, seen = decode(head), head, 0
    while True:
        objects, rest = _objects(rest)
        if seen == 0 and len(objects) == 1 and not rest.strip("\n ,]"):
            objects = list(chain.from_iterable(map(_points, _inside(objects[0]))))
        seen += len(objects)
        if objects:
            yield "\n".join(map(json.dumps, objects)).encode()
        block = file.read(max(block_bytes, len(rest)))  # of one long object twice as much, not a block more
        if not block:
            break
        rest += decode(block)
    if rest.strip():
        raise ValueError(f"what begins with {rest.strip()[:40]!r} is no whole object")


def _objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """The whole objects that text begins with, and what is left of it."""
    objects: list[dict[str, Any]] = []
    at, decoder = 0, json.JSONDecoder()
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return objects, text[at:]
        if not isinstance(value, dict):
            raise ValueError(f"{str(value)[:40]!r} is no object")
        objects.append(value)


def _inside(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a document that is one object: the one list of objects in it, however deep, or itself.

    Raises:
        ValueError: it holds several such lists, or an object for each column.
    """
    if _is_table(value):
        return [value]
    if _is_telemetry(value) and len(value) > 1:  # of one list alone its key may name a device, or nothing
        return list(_moments(value, {}))
    entities = all(isinstance(one, dict) and _is_telemetry(one) for one in value.values())
    if entities and sum(map(len, value.values())) > 1:
        return [row for entity, one in value.items() for row in _moments(one, {"entity": entity})]
    lists = list(_lists(value))
    if len(lists) > 1:
        raise ValueError("it holds several lists of objects")
    columns = [one for one in value.values() if isinstance(one, dict)]
    if len(columns) > 1 and len(columns) == len(value) and len({tuple(one) for one in columns}) == 1:
        raise ValueError("it holds an object for each column")
    return lists[0] if lists else [value]


def _lists(value: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The lists of objects within an object and the objects in it, but not in those lists."""
    for one in value.values():
        if isinstance(one, dict):
            yield from _lists(one)
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            yield one


def _is_telemetry(value: dict[str, Any]) -> bool:
    """Whether it holds a list of moments and values for each key, as ThingsBoard exports an entity."""
    return bool(value) and all(
        isinstance(points, list)
        and all(isinstance(one, dict) and {*one} == {"ts", "value"} for one in points)
        for points in value.values()
    )


def _moments(telemetry: dict[str, Any], entity: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A row for each moment, with the values of all keys; what one key has twice is a row of its own."""
    rows: dict[tuple[Any, int], dict[str, Any]] = {}
    for key, points in telemetry.items():
        if key == "ts" or key in entity:
            raise ValueError(f"a key of its telemetry is called {key!r}, as what every row has: rename it")
        seen: Counter[Any] = Counter()
        for one in points:
            if isinstance(one["ts"], list | dict):
                raise ValueError(f"the moment {str(one['ts'])[:40]!r} of {key!r} is no number or text")
            row = rows.setdefault((one["ts"], seen[one["ts"]]), {**entity, "ts": one["ts"]})
            row[key] = one["value"]
            seen[one["ts"]] += 1
    yield from rows.values()


def _is_table(value: dict[str, Any]) -> bool:
    """Whether it holds the names of columns, and a list of cells for each row."""
    rows = next((value[name] for name in _ROWS if name in value), None)
    return isinstance(value.get("columns"), list) and _is_lists(rows)


def _is_lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, list) for one in value)


def _rows(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = [str(one.get("name") if isinstance(one, dict) else one) for one in table["columns"]]
    tags = table.get("tags") or {}
    if not isinstance(tags, dict):
        raise ValueError(f"its tags {str(tags)[:40]!r} are no object: give each a name, or leave them out")
    twice = [name for name, times in Counter([*tags, *names]).items() if times > 1]
    if twice:
        raise ValueError(f"several columns are called {twice[0]!r}: give each a name of its own")
    for cells in next(table[name] for name in _ROWS if name in table):
        if len(cells) != len(names):
            raise ValueError(f"a row has {len(cells)} cell(s) for {len(names)} columns")
        yield {**tags, **dict(zip(names, cells, strict=True))}


def _points(series: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each of those within an object: a table as pandas, SQL over HTTP and InfluxDB answer with it,
    a series of Prometheus; other objects as they are.
    """
    if _is_table(series):
        yield from _rows(series)
        return
    tables = series.get("series")
    if (
        isinstance(tables, list)
        and tables
        and all(isinstance(one, dict) and _is_table(one) for one in tables)
    ):
        for table in tables:
            name = {"measurement": table["name"]} if "name" in table else {}
            yield from ({**name, **row} for row in _rows(table))
        return
    points = series.get("values", [series["value"]] if "value" in series else None)
    pairs = isinstance(points, list) and all(isinstance(one, list) and len(one) == 2 for one in points)
    if not isinstance(series.get("metric"), dict) or not pairs:
        yield series
        return
    for timestamp, value in points or ():
        yield {**series["metric"], "timestamp": timestamp, "value": float(value)}
