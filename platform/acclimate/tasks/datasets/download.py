"""Fetch a file from its publisher: whole and checked, or not at all.

Where the publisher's checksum is known it is compared. Where it is not, the first download's SHA-256 is
pinned in `checksums.json` beside the files, and a later download must equal it (trust on first use).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from acclimate.errors import DataError
from acclimate.files import scratch_file, write_whole
from acclimate.tasks.building.build import Progress

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 18
PINS = "checksums.json"


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        url: at the publisher's.
        filename: what it is called on disk.
        checksum: `md5:...` or `sha256:...` as published; empty if the publisher's is not known here.
    """

    url: str
    filename: str
    checksum: str = ""


def fetch(download: Download, folder: Path, progress: Progress) -> Path:
    """Download into `folder` unless the file is there already.

    Raises:
        DataError: the publisher cannot be reached, or the file is cut short or not the expected one. Nothing
            is left behind then.
    """
    target = folder / download.filename
    if target.exists():
        return target
    try:
        with scratch_file(target) as part:
            with part.open("wb") as file:
                _receive(download, file, progress)
            _check(download, part, folder)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"cannot download {download.url} ({error}): check the network, or put {download.filename} into a "
            "folder and name it by ACCLIMATE_DATA_DIR or --data-dir"
        ) from error
    return target


def _receive(download: Download, file: object, progress: Progress) -> None:
    request = urllib.request.Request(download.url, headers={"User-Agent": "acclimate"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        received = 0
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)  # type: ignore[attr-defined]
            received += len(chunk)
            progress(f"downloading {download.filename}", received, expected)
    if expected and received != expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")


def _check(download: Download, part: Path, folder: Path) -> None:
    pins = _pins(folder)
    known = download.checksum or pins.get(download.url, "")
    algorithm = known.partition(":")[0] or "sha256"
    with part.open("rb") as file:
        actual = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    if known and actual != known:
        origin = "published" if download.checksum else f"pinned at the first download, in {folder / PINS}"
        raise DataError(
            f"{download.url} sent a file with {actual}, but {known} is {origin}: it was changed or damaged "
            "on its way; try again, or fetch it by hand and check it"
        )
    if not known:
        _write_pins(folder, {**pins, download.url: actual})


def _pins(folder: Path) -> dict[str, str]:
    try:
        pins: dict[str, str] = json.loads((folder / PINS).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(
            f"{folder / PINS} is damaged ({error}): restore it, or delete it to pin anew"
        ) from error
    return pins


def _write_pins(folder: Path, pins: dict[str, str]) -> None:
    write_whole(folder / PINS, json.dumps(pins, indent=2, sort_keys=True) + "\n")
