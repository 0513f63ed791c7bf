"""How a text file writes a table: encoding, delimiter, header. Detected from its first lines, and said."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from acclimate.errors import DataError
from acclimate.tasks.sources.text import MISSING

HEAD_BYTES = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")
SPOKEN = {",": "comma", ".": "point", ";": "semicolon", "\t": "tab", "|": "bar"}
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Dialect:
    """How one file writes its table.

    Attributes:
        names: of the columns, blanks around them cut off.
        skipped: lines before the first row: comments, the header, units.
        units: the line below the header that holds words where every other row has numbers, or empty.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    skipped: int
    has_header: bool
    units: str = ""

    def notes(self) -> Iterator[str]:
        """What is not the usual comma-separated UTF-8 with a header."""
        if self.encoding not in ("utf-8", "utf-8-sig"):
            yield f"text read as {self.encoding}"
        if self.delimiter != ",":
            yield f"columns are parted by a {SPOKEN[self.delimiter]}"
        if not self.has_header:
            yield "there is no header: columns are called 'column 1', 'column 2', ..."
        before = self.skipped - self.has_header - bool(self.units)
        if before:
            yield f"{before} line(s) before the table left out"
        if self.units:
            yield f"a second line of the header left out: {self.units!r}"


def detect(name: str, head: bytes, whole: bool, encoding: str | None = None) -> Dialect:
    """The dialect of a file that begins with `head`.

    Args:
        whole: `head` is all of it; else its last line is cut.
        encoding: known already; by default read off the byte order mark, else UTF-8.

    Raises:
        DataError: it is not text, holds no line, or has two columns of one name.
    """
    encoding = encoding or next((found for mark, found in _MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and not _is_utf8(head, whole):
        encoding = "cp1252"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head, final=whole)
    if "\0" in text:
        raise DataError(f"{name}: holds binary data, not text: give CSV or Parquet")
    lines = text.splitlines()
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    skipped, delimiter = 0, None
    while lines and (not lines[0].strip() or lines[0].startswith("#") or lines[0].lower().startswith("sep=")):
        if lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
            delimiter = lines[0][4]
        lines, skipped = lines[1:], skipped + 1
    if not lines:
        return Dialect(encoding, ",", (), skipped, has_header=False)
    delimiter = delimiter or _delimiter(lines[:50])
    before = _before_the_table(lines[:50], delimiter)
    if before:
        lines, skipped = lines[before:], skipped + before
    rows = list(csv.reader(lines[:50], delimiter=delimiter))
    if len(rows[0]) == 1 and len(rows) > 1 and _parted_by_blanks(lines[:50]):
        raise DataError(
            f"{name}: columns are parted by blanks: write commas, semicolons or tabs between them"
        )
    first = [cell.strip() for cell in rows[0]]
    has_header = not _is_data(first, [[cell.strip() for cell in row] for row in rows[1:]])
    names = first if has_header else [f"column {index + 1}" for index in range(len(first))]
    names = [one or f"column {index + 1}" for index, one in enumerate(names)]
    twice = next((one for one, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{name}: two columns are called {twice!r}: rename one")
    units = lines[1] if has_header and _is_units([[cell.strip() for cell in row] for row in rows[1:]]) else ""
    return Dialect(encoding, delimiter, tuple(names), skipped + has_header + bool(units), has_header, units)


def _before_the_table(lines: list[str], delimiter: str) -> int:
    """Lines that a logger wrote before the header: they have fewer cells than nearly all that follow."""
    widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    if len(widths) != len(lines):  # a cell runs over several lines
        return 0
    usual, times = Counter(widths).most_common(1)[0]
    first = widths.index(usual)
    if first == 0 or usual == 1 or times < 0.8 * (len(widths) - first) or max(widths[:first]) > usual:
        return 0
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines[first:], delimiter=delimiter)]
    return 0 if _is_data(rows[0], rows[1:]) else first


def _parted_by_blanks(lines: list[str]) -> bool:
    widths = {len(line.split()) for line in lines if line.strip()}
    return len(widths) == 1 and widths.pop() > 2


def _is_units(rows: list[list[str]]) -> bool:
    """Whether the first of these rows holds words, or nothing, in all columns that hold numbers below."""
    if len(rows) < 3:
        return False
    numbers = [
        index
        for index in range(len(rows[0]))
        if all(index < len(row) and (not row[index] or _NUMBER.fullmatch(row[index])) for row in rows[1:])
        and any(row[index] for row in rows[1:])
    ]
    above = [rows[0][index] for index in numbers]
    return any(above) and not any(cell in MISSING or _NUMBER.fullmatch(cell) for cell in above if cell)


def _delimiter(lines: list[str]) -> str:
    """The one that parts most lines into the same number of cells, and into most."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        width, lines_of_it = max(widths.items(), key=lambda one: (one[0] > 1, one[1], one[0]))
        return (lines_of_it, width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=fit)


def _is_data(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first line holds numbers where the others do: then it is no header."""
    numbers = [index for index, cell in enumerate(first) if _NUMBER.fullmatch(cell)]
    if not numbers or not rest:
        return bool(numbers)
    return all(
        index < len(row) and (not row[index] or _NUMBER.fullmatch(row[index]) is not None)
        for row in rest[:20]
        for index in numbers
    )


def _is_utf8(head: bytes, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head, final=whole)
    except UnicodeDecodeError:
        return False
    return True
