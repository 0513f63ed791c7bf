"""Files over HTTP, with range requests (RFC 9110, sections 13 and 14).

A download that broke resumes where it stopped: strong entity tags, `Range` with `If-Range`, one range at a
time. Several ranges in one request are answered with the whole file, as the RFC allows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from acclimate.rollout.api.blocking import in_file_thread
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.file_store import FileStore

CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


async def serve_file(request: Request, store: FileStore, path: str, cache_control: str) -> Response:
    """Answer GET or HEAD of `path`: 200, 206, 304, 404 or 416."""
    try:
        stat = await in_file_thread(store.stat, path)
    except FileNotFoundError:
        raise ProblemError(404, "not-found", f"no file {path[:200]!r} in the repository") from None
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
    if end - start <= CHUNK_BYTES:  # to stream takes tasks, which cost more than a small file
        whole = b"".join([chunk async for chunk in body])
        return Response(whole, status, headers, "application/octet-stream")
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
        chunk: bytes = await in_file_thread(store.read, path, start, stop)
        if not chunk:
            raise OSError(f"{path} ended at byte {start} of {end}")
        yield chunk
        start += len(chunk)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
