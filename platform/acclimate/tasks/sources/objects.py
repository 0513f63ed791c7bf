"""A JSON document as one object a line: arrays of objects, nested or within an outer object."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

_BETWEEN = re.compile(r"[\s,\[\]]*")
_BLANKS = b"\xef\xbb\xbf \t\r\n"


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
    """The rows of a document that is one object: the one list of objects in it, however deep, or itself."""
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


def _points(series: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each point of a series as Prometheus answers with it; other objects as they are."""
    points = series.get("values", [series["value"]] if "value" in series else None)
    pairs = isinstance(points, list) and all(isinstance(one, list) and len(one) == 2 for one in points)
    if not isinstance(series.get("metric"), dict) or not pairs:
        yield series
        return
    for timestamp, value in points or ():
        yield {**series["metric"], "timestamp": timestamp, "value": float(value)}
