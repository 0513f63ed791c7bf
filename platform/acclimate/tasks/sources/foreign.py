"""What files are that hold no table as text, told by how they begin, each with what to do about it."""

from __future__ import annotations

import re

_BINARY = (
    (b"PAR1", "Parquet: call it .parquet"),
    (b"\x1f\x8b", "compressed by gzip: call it .csv.gz"),
    (b"BZh", "compressed by bzip2: call it .csv.bz2"),
    (b"\xfd7zXZ", "compressed by xz: call it .csv.xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard: call it .csv.zst"),
    (b"PK\x03\x04", "a zip or a workbook: call it .zip, or save the sheet as CSV"),
    (b"\x89HDF", "HDF5: write its tables as Parquet or CSV"),
    (b"ARROW1", "an Arrow file: write it as Parquet"),
    (b"RIFF", "sound or video: write its samples as Parquet or CSV"),
    (b"TDSm", "TDMS of LabVIEW: write its channels as Parquet or CSV"),
    (b"MDF   ", "MDF of a car's or test bench's logger: write its channels as Parquet or CSV"),
    (b"CDF", "NetCDF: write its tables as Parquet or CSV"),
    (b"MATLAB 5.0 MAT", "a MAT-file: write its tables as CSV, such as with `writetable`"),
    (b"\x93NUMPY", "an array of numpy: write it as Parquet or CSV with names of its columns"),
    (b"SQLite format 3", "a database: write its table as Parquet or CSV"),
    (
        b"\xd4\xc3\xb2\xa1",
        "a capture of packets: write what they tell as CSV, such as with `tshark -T fields`",
    ),
    (b"$FL2", "a file of SPSS: write it as CSV or Parquet, such as with pandas.read_spss"),
    (b"<stata_dta>", "a file of Stata: write it as CSV or Parquet, such as with pandas.read_stata"),
    (b"#ROSBAG", "a bag of ROS: write its topics as CSV or Parquet"),
    (b"0       ", "EDF: write its signals as Parquet or CSV, a row for each moment"),
)
"""How files begin that are called otherwise than they are."""
LINE_PROTOCOL = "InfluxDB line protocol: export it as CSV, such as with `influx query --raw` or `format=csv`"
_FIELD = r"[^\s,=]+=(\"[^\"\n]*\"|[^\s,=\"][^\s,=]*)"
_POINT = rf"[^\s,=]+(,[^\s,=]+=[^\s,=]+)* {_FIELD}(,{_FIELD})*( \d{{9,19}})?"
_LEVEL = r"(\b(INFO|DEBUG|TRACE|ERROR|NOTICE)\b|\[(info|debug|warn|error)\])"
_LOGGED = re.compile(rf"[^\n,;\t]*[0-9](,[0-9]{{3}})?[^\n,;\t]*{_LEVEL}", re.IGNORECASE)
_LOG = "a log of messages: write what they tell as a table, or as JSON lines"
_AROUND = re.compile(r'[^{,;|\t]*[0-9][^{,;|\t]*[=:\s]\s*\{\s*"[^"]+"\s*:')
"""A line of text behind which an object of JSON stands."""
_LEVEL_WITHIN = 300
"""Characters of a line in which a log says how grave its message is; the search is of their square."""
_NO_TABLE = (
    (r"\s*<(!doctype|html|\?xml)", "a page of the web, or XML: download or export the data itself"),
    (r"version https://git-lfs", "a pointer of Git LFS: fetch the file with `git lfs pull`"),
    (r"\$[A-Z]{2}[A-Z]{3},", "sentences of NMEA: write the positions as CSV, such as with `gpsbabel`"),
    (r"# (HELP|TYPE) \w+ ", "what Prometheus scrapes: query it for a time, and save the answer (JSON)"),
    (rf"(#.*\n)*{_POINT}\s*(\n|$)", LINE_PROTOCOL),
    (
        r"([ \t]*(#.*)?\r?\n)*(@problemname|@relation[^\n]*\n([ \t]*[#@].*\n)*?@(frequency|equallength))",
        "series of sktime: write them as CSV, a row for each moment, with columns for series and time",
    ),
)
"""How texts begin that hold no table of columns."""
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1f]")
"""What a binary file soon has where text, as a header that begins with `CDF,`, has letters."""


def is_binary(head: bytes) -> bool:
    """Whether it begins as a binary file does, and not with a text in which these letters come first."""
    magic = next((magic for magic, _ in _BINARY if head.startswith(magic)), None)
    return magic is not None and (not magic.isascii() or _NO_TEXT.search(head[:512]) is not None)


def no_table(text: str) -> str | None:
    """What a text is that holds no table of columns; None where it may hold one."""
    other = next((told for begins, told in _NO_TABLE if re.match(begins, text, re.IGNORECASE)), None)
    return other or (_LOG if _is_log(text) else None)


def _is_log(text: str) -> bool:
    """Whether each of the first three lines tells a number and then a level or JSON, and no cells before."""
    first = text.split("\n", 3)
    lines = [line[:_LEVEL_WITHIN] for line in first[:3]]
    return len(first) > 3 and any(all(map(form.match, lines)) for form in (_LOGGED, _AROUND))


def what_binary(head: bytes) -> str:
    """What a file of bytes that are no text is."""
    for magic, told in _BINARY:
        if head.startswith(magic):
            return f"is {told}"
    return "holds binary data, not text: give CSV or Parquet"
