"""How a text file writes a table: encoding, delimiter, header. Detected from its first lines, and said."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from acclimate.errors import DataError
from acclimate.tasks.sources.foreign import is_binary, no_table, what_binary
from acclimate.tasks.sources.text import MISSING

HEAD_BYTES = 1 << 16
HEAD_LINES = 100
"""Lines by which delimiter and header are told."""
_DELIMITERS = (",", ";", "\t", "|")
COMMENTS = ("#", "%")
_SPOKEN = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar", " ": "blanks"}

_BREAK = "\x1f"
"""Stands for the end of a line within a cell, for `csv` takes none; `split` takes it for a blank."""
_OPEN = re.compile(r'(?:^|[,;\t|])"(?:[^"]|"")*$')
"""The rest of a line in which a quoted cell does not end; a quote within a cell, as of inches, opens none."""
_TALLEST = 20
"""Lines that one cell may take."""
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOMENT = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d\d")
_WIDER = 2
"""Lines before the header that may have more cells than it: what a logger says of itself, and its names."""
_END_OF_HEADER = "***End_of_Header***"
"""What LabVIEW writes behind each part of what it says of itself."""
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f]")
"""Of which text has at most a few, such as the one that ends a file of DOS."""
_RELATION = re.compile(r"(?:[ \t]*(?:%.*)?\n)*[ \t]*@relation\s", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How one file writes its table.

    Attributes:
        delimiter: one character; a blank stands for any number of blanks and tabs.
        names: of the columns, blanks around them cut off.
        skipped: lines before the first row: comments, the header, units.
        others: lines of the header besides the one with the names: units, descriptions.
        joined: names are made of the other line too.
        escapes: a quote within quotes is written as \\", not twice.
        quote: what stands around a cell that holds a delimiter.
        arff: Weka's format, in which lines among the rows that begin with % are comments.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    skipped: int
    has_header: bool
    others: tuple[str, ...] = ()
    escapes: bool = False
    quote: str = '"'
    arff: bool = False
    joined: bool = False

    @property
    def annotated(self) -> bool:
        """Whether InfluxDB wrote it, with lines such as `#datatype` before each of its tables."""
        return self.names[:3] == ("column 1", "result", "table")

    def notes(self) -> Iterator[str]:
        """What is not the usual comma-separated UTF-8 with a header."""
        if self.encoding not in ("utf-8", "utf-8-sig"):
            yield f"text read as {self.encoding}"
        if self.delimiter != ",":
            yield f"columns are parted by {_SPOKEN[self.delimiter]}"
        if not self.has_header and self.names[:1] == ("column 1",):
            yield "there is no header: columns are called 'column 1', 'column 2', ..."
        numbers = [one for one in self.names if one.isdigit()] if self.has_header else []
        if numbers:
            yield f"the first line of the table names its columns, some by numbers: {', '.join(numbers[:5])}"
        if self.arff:
            yield "read as ARFF of Weka: its lines @attribute name the columns"
            return
        before = self.skipped - self.has_header - len(self.others)
        if before:
            yield f"{before} line(s) before the table left out"
        for line in self.others:
            how = "read as part of the names" if self.joined else "left out"
            yield f"a second line of the header {how}: {line!r}"


def detect(name: str, head: bytes, whole: bool, encoding: str | None = None) -> Dialect:
    """The dialect of a file that begins with `head`.

    Args:
        whole: `head` is all of it; else its last line is cut.
        encoding: known already; by default read off the byte order mark or the zeros of UTF-16, else UTF-8.

    Raises:
        DataError: it is not text, or has two columns of one name.
    """
    if is_binary(head):
        raise DataError(f"{name}: {what_binary(head)}")
    encoding = encoding or _encoding(head, whole)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head, final=whole).rstrip("\0")
    strange = text.count("\0") + len(_CONTROL.findall(text))
    if strange > 0.01 * len(text):
        raise DataError(f"{name}: {what_binary(head)}")
    if "\0" in text:
        line = len(_lines(text[: text.index("\0")] + "."))
        raise DataError(f"{name}: line {line} holds a byte that is no text (0): repair or remove the line")
    other = no_table(text)
    if other is not None:
        raise DataError(f"{name}: is {other}")
    escapes = re.search(r'\\"[^,;\t|\r\n"]', text) is not None
    if _RELATION.match(text.replace("\r\n", "\n")):
        return _arff(name, encoding, text)
    lines = _whole_cells(_lines(text.replace('\\"', '""') if escapes else text))
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    skipped, delimiter, comment = 0, None, ""
    while lines and (
        not lines[0].strip() or lines[0].startswith(COMMENTS) or lines[0].lower().startswith("sep=")
    ):
        if lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
            delimiter = lines[0][4]
        comment = lines[0].lstrip("".join(COMMENTS)) if lines[0].startswith(COMMENTS) else comment
        lines, skipped = lines[1:], skipped + _height(lines[:1])
    if not lines:
        return Dialect(encoding, ",", (), skipped, has_header=False)
    ends = [at + 1 for at, line in enumerate(lines) if line.startswith(_END_OF_HEADER)]
    lines, skipped = (
        lines[ends[-1] :] if ends else lines,
        skipped + _height(lines[: ends[-1]] if ends else []),
    )
    lines = [line for line in lines if not line.startswith(COMMENTS)]
    delimiter = delimiter or _delimiter(lines)
    before = _before_the_table(lines[:HEAD_LINES], delimiter)
    lines, skipped = lines[before:], skipped + _height(lines[:before])
    table = _cells(lines[:HEAD_LINES], delimiter)
    begin, at = _header(table)
    if begin == 0 and len(table) > 1:
        above = _cells([comment], delimiter)[:1]
        if above and len(above[0]) == len(table[0]) and _header([above[0], *table]) == (1, 0):
            names = _named(name, above[0], table)
            return Dialect(encoding, delimiter, names, skipped, has_header=False, escapes=escapes)
    header = table[at] if begin else [""] * len(table[0])
    others = tuple(line for index, line in enumerate(lines[:begin]) if index != at)
    joined = None
    if len({*header}) < len(header) and begin == 2:
        joined = _of_two_lines(*table[:begin])
    names = _named(name, joined or header, table[begin:])
    height = skipped + _height(lines[:begin])
    return Dialect(encoding, delimiter, names, height, begin > 0, others, escapes, joined=joined is not None)


def _arff(name: str, encoding: str, text: str) -> Dialect:
    """The dialect of Weka's format: a line `@attribute` for each column, rows behind `@data`."""
    lines = _lines(text)
    data = next((at for at, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if data is None or any(line.startswith("{") for line in lines[data + 1 :]):
        raise DataError(f"{name}: is ARFF without plain rows behind @data: write them as CSV")
    found = (
        re.match(r"""\s*@attribute\s+('[^']*'|"[^"]*"|\S+)""", line, re.IGNORECASE) for line in lines[:data]
    )
    names = [one[1].strip("'\"") for one in found if one is not None]
    if not names:
        raise DataError(f"{name}: is ARFF without a line @attribute for each column: write it, or give CSV")
    quoted = any(re.search(r"(^|,)\s*'", line) for line in lines[data + 1 :] if not line.startswith("%"))
    quote = "'" if quoted else '"'
    return Dialect(encoding, ",", _named(name, names, []), data + 1, False, quote=quote, arff=True)


def _lines(text: str) -> list[str]:
    """As the reader of rows parts them, to which a form feed or a paragraph's mark ends none."""
    lines = re.split("\r\n|\n|\r", text)
    return lines if lines[-1] else lines[:-1]


def _of_two_lines(above: list[str], below: list[str]) -> list[str] | None:
    """Names of a header in two lines, the first of which may name several columns; None if they are alike.

    `accel,,,gyro,,` above `x,y,z,x,y,z` are `accel x` to `gyro z`.
    """
    if len(above) != len(below):
        return None
    wide: list[str] = []
    for one in above:
        wide.append(one or (wide[-1] if wide else ""))
    names = [f"{one} {two}".strip() for one, two in zip(wide, below, strict=True)]
    return names if len({*names}) == len(names) else None


def _whole_cells(lines: list[str]) -> list[str]:
    """Lines put together where a quoted cell ends in a later one, as in the headers of workbooks."""
    whole: list[str] = []
    at = 0
    while at < len(lines):
        ends = range(at + 1, min(at + _TALLEST, len(lines)) + 1)
        end = next((end for end in ends if not _OPEN.search(_BREAK.join(lines[at:end]))), at + 1)
        whole.append(_BREAK.join(lines[at:end]))
        at = end
    return whole


def _height(lines: list[str]) -> int:
    """How many lines of the file these are."""
    return sum(line.count(_BREAK) + 1 for line in lines)


def _encoding(head: bytes, whole: bool) -> str:
    marked = next((found for mark, found in _MARKS if head.startswith(mark)), None)
    if marked is not None:
        return marked
    pairs = head[: len(head) // 2 * 2]
    for encoding, of_text in (("utf-16-le", pairs[1::2]), ("utf-16-be", pairs[::2])):
        if len(pairs) > 8 and of_text.count(0) > 0.9 * len(of_text) and head.count(0) < 0.6 * len(head):
            return encoding
    return "utf-8" if _is_utf8(head, whole) else "cp1252"


def _named(name: str, header: list[str], rows: list[list[str]]) -> tuple[str, ...]:
    """A name for each column; one more where every row has one cell more than the header.

    It is the last where it is empty, for rows end in a delimiter; else the first, as R names its rows.

    Raises:
        DataError: two columns are called the same.
    """
    wider = bool(rows) and all(len(row) == len(header) + 1 for row in rows)
    if wider and (len({row[0] for row in rows}) == len(rows) or not any(row[-1] for row in rows)):
        header = [*header, ""] if not any(row[-1] for row in rows) else ["", *header]
    names = [" ".join(one.split()) or f"column {index + 1}" for index, one in enumerate(header)]
    twice = next((one for one, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{name}: two columns are called {twice!r}: rename one")
    return tuple(names)


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        return list(csv.reader(("\t".join(line.split()) for line in lines if line.strip()), delimiter="\t"))
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _before_the_table(lines: list[str], delimiter: str) -> int:
    """Lines that a logger wrote before the header: they have fewer cells than nearly all that follow.

    Where blanks part the columns they are prose, of any number of words.
    """
    by_blanks = delimiter == " "
    widths = (
        [len(line.split()) for line in lines] if by_blanks else [len(row) for row in _cells(lines, delimiter)]
    )
    if len(widths) != len(lines):  # a cell runs over several lines
        return 0
    usual = Counter(widths[len(widths) // 2 :]).most_common(1)[0][0]
    first = len(widths) - 1 - widths[::-1].index(usual) if by_blanks else 0
    while by_blanks and first > 0 and widths[first - 1] in (usual, 1):  # a line of stars parts no table
        first -= 1
    first = widths.index(usual, first)
    if first == 0 or usual == 1 or widths.count(usual) < 0.8 * (len(widths) - first):
        return 0
    if not by_blanks and sum(width > usual for width in widths[:first]) > _WIDER:
        return 0
    return first if _header(_cells(lines[first:], delimiter))[0] else 0


def _header(rows: list[list[str]]) -> tuple[int, int]:
    """How many lines there are before the first row, and which of them has the names: the fullest.

    A line of the header holds words, or nothing, in all columns that hold numbers below.
    """
    below = rows[max(1, len(rows) // 2) :]
    below = [row for row in below if len(row) > 1 or len(rows[0]) < 2] or below  # no footers
    numbers = [
        index
        for index in range(len(rows[0]))
        if all(index < len(row) and (row[index] in MISSING or _is_number(row[index])) for row in below)
        and any(_is_number(row[index]) for row in below)
    ]
    if not numbers:
        return (0, 0) if any(map(_is_number, rows[0])) else (1, 0)
    last = -1
    for index, row in enumerate(rows[: max(1, len(rows) // 2)]):
        held = [row[at] for at in numbers if at < len(row) and row[at] not in MISSING]
        if any(map(_is_number, held)):
            break
        last = index if held else last
    if last < 0:
        return (1, 0) if _named_by_numbers(rows, numbers) or _unlike_the_rest(rows, numbers) else (0, 0)
    at = max(range(last + 1), key=lambda index: (sum(map(bool, rows[index])), -index))
    last += len(list(itertools.takewhile(lambda row: len(row) < len(rows[at]) - 1, rows[last + 1 :])))
    return last + 1, at  # a line of stars below the names is no row


def _named_by_numbers(rows: list[list[str]], numbers: list[int]) -> bool:
    """Whether columns are called by years, hours or the like: whole numbers that rise, as in no row below."""

    def rises(row: list[str]) -> bool:
        cells = [row[at] for at in numbers if at < len(row)]
        whole = all(cell.isascii() and cell.isdigit() for cell in cells)
        return whole and len(cells) > 2 and all(int(a) < int(b) for a, b in itertools.pairwise(cells))

    return rises(rows[0]) and not any(map(rises, rows[1:]))


def _counts(cells: list[str]) -> bool:
    """Whether cells number columns, from 0 or 1 or in even steps, and do not happen to be whole numbers."""
    if not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(cells)}
    if len(cells) < 3:
        return steps <= {1} and cells[:1] in ([], ["0"], ["1"])
    return len(steps) == 1 and min(steps) > 0


def _unlike_the_rest(rows: list[list[str]], numbers: list[int]) -> bool:
    """Whether columns are called by whole numbers or nothing, and one by a word above cells with digits."""
    digits = re.compile(r"[0-9]")
    names = [rows[0][at] for at in numbers]
    spelled = [cell for cell in names if cell not in MISSING and not _is_number(cell)]
    if spelled and len({*names}) == len(names) and _counts([one for one in names if one not in spelled]):
        return True
    cells = {
        at: [row[at] for row in rows[1:] if at < len(row) and row[at] not in MISSING]
        for at in set(range(len(rows[0]))) - set(numbers)
    }
    counted = {at: below for at, below in cells.items() if below and all(map(digits.search, below))}
    words = {at for at in counted if rows[0][at] not in MISSING and not digits.search(rows[0][at])}
    if all(cell in MISSING or cell.isdigit() for cell in (rows[0][at] for at in numbers)):
        return bool(words)
    # 0.5 and 0.95 are names where a word stands above moments, and no cell has digits above what has some
    dated = any(all(map(_MOMENT.match, below)) for at, below in counted.items() if at in words)
    return dated and words == {*counted} and len({*rows[0]}) == len(rows[0])


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _delimiter(lines: list[str]) -> str:
    """The one that parts most lines into the same number of cells, and into most; blanks where none does.

    Told by the first lines, or, where these are mostly prose, by lines from the middle.
    """

    def fit(delimiter: str, some: list[str]) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(some, delimiter=delimiter))
        width, lines_of_it = max(widths.items(), key=lambda one: (one[0] > 1, one[1], one[0]))
        return (lines_of_it, width) if width > 1 else (0, 0)

    for some in (lines[:HEAD_LINES], lines[len(lines) // 2 :][:HEAD_LINES]):
        best = max(_DELIMITERS, key=lambda delimiter: fit(delimiter, some))
        if 2 * fit(best, some)[0] > len(some):
            return best
        rows = [line.split() for line in some[1:] if line.strip()] or [some[0].split()]
        widths = {len(row) for row in rows}
        if len(widths) == 1 and (
            min(widths) > 2 or (widths == {2} and all(_is_number(row[0]) for row in rows))
        ):
            return " "
    return best


def _is_utf8(head: bytes, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head, final=whole)
    except UnicodeDecodeError:
        return False
    return True
