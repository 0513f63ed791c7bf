"""From a path or URL to the files of a source: which are read, in which format, and what their place says."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa

from acclimate.errors import AcclimateError, DataError
from acclimate.object_store import open_store, reaching
from acclimate.tasks.sources.delimited import DelimitedPart
from acclimate.tasks.sources.foreign import LINE_PROTOCOL
from acclimate.tasks.sources.lines import LinesPart, called_alike
from acclimate.tasks.sources.parquet import ParquetPart
from acclimate.tasks.sources.source import Part, Source
from acclimate.tasks.sources.types import FILE, FOLDER, NAME

PARQUET = (".parquet", ".pq", ".parq")
DELIMITED = (".csv", ".tsv", ".tab")
LINES = (".jsonl", ".ndjson")
TEXTS = (".txt", ".dat", ".data", ".asc", ".prn", ".lvm", ".log", ".out", ".tbl", ".json")
"""Tables as loggers call them; read where nothing is called a table, for a text beside one describes it."""
_OTHERS = {
    (".xlsx", ".xls", ".ods"): "is a workbook: save the sheet as CSV",
    (".feather", ".arrow", ".ipc", ".orc", ".avro"): "is read by pyarrow or pandas: write it as Parquet",
    (
        *(".h5", ".hdf5", ".mat", ".npz", ".npy", ".pkl", ".pickle", ".db", ".sqlite", ".nc", ".edf", ".bdf"),
        *(".dta", ".sav", ".sas7bdat", ".rds", ".rdata", ".bag", ".mcap", ".pcap", ".mf4", ".tdms", ".fit"),
    ): "is no table of rows by itself: write one as Parquet or CSV",
    (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".7z", ".rar"): "is an archive: unpack it",
    (".lp", ".line"): f"is {LINE_PROTOCOL}",
}
"""What people have besides, and what to do with it."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".br", ".lz4")
_BY_ARROW = {".zst": "zstd", ".br": "brotli", ".lz4": "lz4"}
"""Compressed so that Arrow, which is here, reads it, and fsspec needs a package for it."""
_LOGGED = {
    "/_delta_log/": "Delta",
    ".metadata.json": "Iceberg",
    "/.hoodie/": "Hudi",
}
"""What the log of a table holds, of which not every file counts."""
Format = Literal["parquet", "delimited", "lines"]
_UNFINISHED = (
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".crc",
    ".swp",
    ".bak",
    ".inprogress",
    "~",
    ".crdownload",
)
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def from_files(location: str, absent: Sequence[str] = ()) -> Source:
    """Parquet, CSV or JSON: a file, a folder or zip of them (flat, nested, partitioned), or a pattern.

    Every row of a file in a folder has its partitions' values as text, and, where there are several files and
    no column has that name already, its file's path in a column `file`; in `folder` the one it lies in, if
    there are several; in `filename` the bare name, if one comes again. Hidden and unfinished files are left
    alone.

    Args:
        location: a path or an fsspec URL; `*` matches names.
        absent: words that stand for a missing value in text files, besides the usual ones.

    Raises:
        DataError: nothing is named or there, no driver for the URL is installed, or formats are mixed.
    """
    filesystem, root, found = _find(location)
    for mark, kind in _LOGGED.items():
        if any(mark in path if mark.endswith("/") else path.endswith(mark) for path in found):
            raise DataError(
                f"{location}: is a table of {kind}, whose log says which of its files count: write it out as "
                "Parquet with what made it, such as Spark, into a folder of its own"
            )
    read = {
        path: info
        for path, info in found.items()
        if (root == path or not _is_hidden(path, root)) and info.get("type") != "other"
    }
    formats = {path: _format(path, alone=len(found) == 1) for path in read}
    if not any(formats.values()):
        formats = _texts(read)
    files = sorted(path for path, format_ in formats.items() if format_)
    if not files:
        raise DataError(f"{location}: {_why_nothing(found)}")
    kinds = {formats[path] for path in files}
    if len(kinds) > 1:
        raise DataError(
            f"{location}: holds both Parquet and CSV files, or others, which may say the same twice: name "
            f"one kind, for example {posixpath.join(location, '*.parquet')}"
        )
    given = _given(files, root)
    marks = [f"{path} {found[path].get('size')} {_mark(found[path])}" for path in files]
    parts: dict[str, Callable[[str, Any, Mapping[str, str | None]], Part]] = {
        "parquet": ParquetPart,
        "delimited": partial(DelimitedPart, absent=tuple(absent)),
        "lines": LinesPart,
    }
    make = parts[kinds.pop() or ""]

    def open_parts() -> Sequence[Part]:
        made = [
            make(
                posixpath.relpath(path, root) if path != root else posixpath.basename(path),
                opener,
                given[path],
            )
            for path in files
            for opener in [partial(_opened, filesystem, path)]
        ]
        lines = [part for part in made if isinstance(part, LinesPart)]
        return called_alike(lines) if lines else made

    digest = hashlib.sha256("\n".join([*marks, *absent]).encode()).hexdigest()
    said = tuple(_not_read(found, files))
    return Source(str(location), digest, open_parts, said, partial(from_files, location))


def _find(location: str) -> tuple[Any, str, dict[str, Mapping[str, Any]]]:
    """The file system, the folder or file that paths are told from, and every file with its information."""
    if not location.strip():
        raise DataError("no recordings are named: give a file, a folder, a pattern or a URL")
    try:
        filesystem, path = open_store(location)
        with reaching(location):
            if path.lower().endswith(".zip") and filesystem.isfile(path):
                filesystem, path = open_store(f"zip://::{location}")
            if "*" in path:
                root = path[: path.index("*")].rpartition("/")[0]
                matched = filesystem.glob(path, detail=True)
                found = {name: info for name, info in matched.items() if info.get("type") == "file"}
            elif filesystem.isfile(path):
                root, found = path, {path: filesystem.info(path)}
            else:
                root, found = path, filesystem.find(path, detail=True)
    except AcclimateError as error:
        raise DataError(str(error)) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{location}: cannot be reached ({error})") from error
    return filesystem, root, found


def _why_nothing(found: Mapping[str, Any]) -> str:
    if not found:
        return "no Parquet or CSV file is there, nor anything else: check the name"
    if all(info.get("type") == "other" for info in found.values()):
        return "only pipes, devices or broken links are there: give files"
    for path in found:
        for endings, remedy in _OTHERS.items():
            if path.lower().endswith(endings):
                return f"{posixpath.basename(path)} {remedy}"
    first = posixpath.basename(min(found))
    return (
        f"no Parquet or CSV file is there, but {len(found)} file(s) such as {first}: give .parquet, .csv, "
        ".txt or .jsonl, and call tables in text so"
    )


def _is_hidden(path: str, root: str) -> bool:
    steps = posixpath.relpath(path, root).split("/")
    return any(step.startswith((".", "_")) for step in steps) or path.endswith(_UNFINISHED)


def _format(path: str, alone: bool) -> Format | None:
    name, bare = path.lower(), _bare(path)
    if name.endswith(PARQUET):
        return "parquet"
    if bare.endswith(LINES):
        return "lines"
    unknown = not any(name.endswith(endings) for endings in _OTHERS)
    return (
        "delimited"
        if bare.endswith(DELIMITED) or (alone and unknown and not bare.endswith(".json"))
        else None
    )


def _bare(path: str) -> str:
    name = path.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name


def _texts(read: Collection[str]) -> dict[str, Format | None]:
    """The files with the ending that most texts have."""
    endings = Counter(posixpath.splitext(_bare(path))[1] for path in read if _bare(path).endswith(TEXTS))
    usual = max(endings, key=lambda ending: (endings[ending], ending), default="")
    format_: Format = "lines" if usual == ".json" else "delimited"
    return {path: format_ for path in read if usual and _bare(path).endswith(usual)}


def _opened(filesystem: Any, path: str) -> Any:
    codec = next((codec for ending, codec in _BY_ARROW.items() if path.lower().endswith(ending)), None)
    if codec is not None:
        return pa.CompressedInputStream(filesystem.open(path, "rb"), codec)
    return filesystem.open(path, "rb", compression="infer" if path.lower().endswith(COMPRESSED) else None)


def _given(files: Sequence[str], root: str) -> dict[str, dict[str, str | None]]:
    """What each file's place says of its rows: partitions, and the file's name without what all share."""
    given: dict[str, dict[str, str | None]] = {}
    for path in files:
        folders = posixpath.relpath(path, root).split("/")[:-1] if path != root else []
        given[path] = dict(_partitions(folders))
    partitioned = any(given.values())
    if partitioned:
        names = {tuple(one) for one in given.values()}
        if len(names) > 1:
            raise DataError(
                f"{root}: files lie under different partitions, {_some(names)}: put every file under the same"
            )
        return given
    if len(files) > 1:
        stems = {path: _stem(posixpath.relpath(path, root)) for path in files}
        several = len({posixpath.dirname(stem) for stem in stems.values()}) > 1
        again = len({posixpath.basename(stem) for stem in stems.values()}) < len(files)
        for path, stem in stems.items():
            given[path] = {FILE: stem}
            given[path] |= {FOLDER: posixpath.dirname(stem) or "."} if several else {}
            # a name that comes again in another folder says something by itself
            given[path] |= {NAME: posixpath.basename(stem)} if again else {}
    return given


def _some(names: set[tuple[str, ...]]) -> str:
    return " and ".join("/".join(one) or "none" for one in sorted(names)[:2])


def _partitions(folders: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for folder in folders:
        key, equals, value = folder.partition("=")
        if equals and key:
            yield unquote(key), None if value == _NULL_PARTITION else unquote(value)


def _stem(path: str) -> str:
    folder, name = posixpath.split(path)
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return posixpath.join(folder, re.sub(r"\.[A-Za-z]+$", "", name))


def _not_read(found: Mapping[str, Any], files: Sequence[str]) -> Iterator[str]:
    others = sorted(set(found) - set(files))
    if others:
        shown = ", ".join(posixpath.basename(path) for path in others[:3])
        yield f"{len(others)} hidden, unfinished or other file(s) not read: {shown}"


def _mark(info: Mapping[str, Any]) -> str:
    for key in (
        "ETag",
        "etag",
        "md5",
        "checksum",
        "mtime",
        "LastModified",
        "last_modified",
        "created",
        "CRC",
    ):
        if info.get(key) is not None:
            return str(info[key])
    return ""
