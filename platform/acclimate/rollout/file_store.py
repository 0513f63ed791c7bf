"""The repository's files, in a folder or any object store."""

from __future__ import annotations

import errno
import hashlib
import re
from dataclasses import dataclass

from acclimate.object_store import is_remote, open_store, reaching

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True)
class FileStat:
    """Size in bytes and strong entity tag (quoted) of a file."""

    size: int
    etag: str


class FileStore:
    """Read-only files below an fsspec URL, addressed by paths of plain names."""

    def __init__(self, url: str) -> None:
        self._files, root = open_store(url)
        self._url, self._root = url, root.rstrip("/")

    def stat(self, path: str) -> FileStat:
        """Size and entity tag; what an object store says changes when the content does.

        Raises:
            FileNotFoundError: not a file, or a path that is not made of plain names.
            StoreError: the object store does not answer, or does not let us in.
        """
        hidden = () if is_remote(self._url) else (PermissionError,)
        try:
            with reaching(self._url):
                info = self._files.info(self._locate(path))
        except (FileNotFoundError, NotADirectoryError, *hidden):
            raise _not_found(path) from None
        if info["type"] != "file":
            raise _not_found(path)
        marks = [info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created", "ino", "size")]
        return FileStat(int(info["size"]), f'"{hashlib.sha256(repr(marks).encode()).hexdigest()[:32]}"')

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes `start` to `end` (exclusive).

        Raises:
            StoreError: as for `stat`.
        """
        with reaching(self._url):
            content: bytes = self._files.cat_file(self._locate(path), start=start, end=end)
        return content

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self._files.isfile(self._locate(path)))

    def read_all(self, path: str, max_bytes: int = 16 * 1024 * 1024) -> bytes:
        """The whole of a small file.

        Raises:
            FileNotFoundError, StoreError: as for `stat`.
            OSError: the file has more than `max_bytes`.
        """
        size = self.stat(path).size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"it has {size} bytes, at most {max_bytes} are read", path)
        return self.read(path, 0, size)

    def _locate(self, path: str) -> str:
        if not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
            raise _not_found(path)
        return f"{self._root}/{path}"


def _not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no such file in the repository", path[:200])
