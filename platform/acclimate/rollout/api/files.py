"""Files over HTTP from a folder or any object store, with range requests (RFC 9110, sections 13 and 14).

A download that broke resumes where it stopped: strong entity tags, `Range` with `If-Range`, one range at a
time. Several ranges in one request are answered with the whole file, as the RFC allows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import fsspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from acclimate.rollout.api.problems import ProblemError

CHUNK_BYTES = 256 * 1024
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class FileStat:
    """Size in bytes and strong entity tag (quoted) of a file."""

    size: int
    etag: str


class FileStore:
    """Read-only files below an fsspec URL, addressed by paths of plain names."""

    def __init__(self, url: str) -> None:
        self._files, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")

    def stat(self, path: str) -> FileStat:
        """Size and entity tag; what an object store says changes when the content does.

        Raises:
            ProblemError: 404, not a file, or a path that is not made of plain names.
        """
        try:
            info = self._files.info(self._locate(path))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise _not_found(path) from None
        if info["type"] != "file":
            raise _not_found(path)
        marks = [info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created", "ino", "size")]
        return FileStat(int(info["size"]), f'"{hashlib.sha256(repr(marks).encode()).hexdigest()[:32]}"')

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes `start` to `end` (exclusive)."""
        content: bytes = self._files.cat_file(self._locate(path), start=start, end=end)
        return content

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self._files.isfile(self._locate(path)))

    def read_all(self, path: str, max_bytes: int = 16 * 1024 * 1024) -> bytes:
        """The whole of a small file.

        Raises:
            ProblemError: 404, or 413 for a file over `max_bytes`.
        """
        size = self.stat(path).size
        if size > max_bytes:
            raise ProblemError(413, "too-large", f"{path} has {size} bytes, at most {max_bytes} are read")
        return self.read(path, 0, size)

    def _locate(self, path: str) -> str:
        if not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
            raise _not_found(path)
        return f"{self._root}/{path}"


async def serve_file(request: Request, store: FileStore, path: str, cache_control: str) -> Response:
    """Answer GET or HEAD of `path`: 200, 206, 304, 404 or 416."""
    stat = await to_thread.run_sync(store.stat, path)
    headers = {
        "ETag": stat.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": cache_control,
        "X-Content-Type-Options": "nosniff",
    }
    if stat.etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    start, end, status = 0, stat.size, 200
    if request.headers.get("if-range", stat.etag) == stat.etag:
        start, end, status = requested_range(request.headers.get("range", ""), stat.size)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stat.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    body = _chunks(store, path, start, end)
    return StreamingResponse(body, status, headers, "application/octet-stream")


def requested_range(header: str, size: int) -> tuple[int, int, int]:
    """What a `Range` header asks of a file of `size` bytes: start, end (exclusive) and the answer's status.

    Raises:
        ProblemError: 416, where nothing of the range lies within the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return 0, size, 200
    first, last = (int(text) if text else None for text in match.groups())
    if first is not None and last is not None and last < first:
        return 0, size, 200  # not a valid range: ignored, as the RFC asks
    if first is None:
        assert last is not None
        first, end = max(size - last, 0), size
    else:
        end = size if last is None else min(last + 1, size)
    if first >= end:
        raise ProblemError(
            416, "range-not-satisfiable", f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"}
        )
    return first, end, 206


async def _chunks(store: FileStore, path: str, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        stop = min(start + CHUNK_BYTES, end)
        chunk: bytes = await to_thread.run_sync(store.read, path, start, stop)
        if not chunk:
            raise OSError(f"{path} ended at byte {start} of {end}")
        yield chunk
        start += len(chunk)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _not_found(path: str) -> ProblemError:
    return ProblemError(404, "not-found", f"no file {path[:200]!r} in the repository")
