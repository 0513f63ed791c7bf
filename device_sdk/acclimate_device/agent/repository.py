"""Bundles from the TUF repository: verified before use, resumed where a download was cut off.

python-tuf's client decides what is trusted; only lengths and hashes from its verified targets metadata are
used. Bytes are fetched in ranges into flash, and nothing parses them before their hash holds.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from acclimate_device.agent.transport import Response
from acclimate_device.bundle import parse_manifest
from acclimate_device.errors import StorageError, TransportError, UntrustedError
from acclimate_device.protocol import LIMITS, MANIFEST, Manifest, Release
from acclimate_device.storage import Flash

Get = Callable[[str, Mapping[str, str], int], Response]
"""(path below the repository, headers, longest answer) to a successful answer."""

_CHUNK_BYTES, _SMALLEST_CHUNK_BYTES = 256 * 1024, 8 * 1024
_TOO_LONG = 413
"""What whoever is between, such as a broker, lets no more through by."""
_METADATA_BYTES = 5_000_000
_PARTIAL = "download/"
_CLOCK_OFF_S = 3600.0
"""A clock that differs from the service's by more is wrong, not merely late."""


class Repository:
    """One device's view of the repository.

    Args:
        get: fetches from it.
        root: the trusted root that came with the device.
        metadata: folder where verified metadata is kept, so that none is accepted that is older.
        flash: where downloads grow.
        clock_offset_s: how far the service's clock is ahead of this machine's.
    """

    def __init__(
        self,
        get: Get,
        root: bytes,
        metadata: Path,
        flash: Flash,
        clock_offset_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._get, self._root, self._metadata, self._flash = get, root, metadata, flash
        self._clock_offset_s = clock_offset_s
        self._chunk = _CHUNK_BYTES

    def fetch(self, release: Release, held: Callable[[str], bytes | None]) -> dict[str, bytes]:
        """A bundle's files, each verified.

        Args:
            held: a file by SHA-256 that the device has already, or None.

        Raises:
            UntrustedError: metadata or a file does not verify, or the manifest is of another release.
            BundleError: the bundle is too large or its manifest makes no sense.
            TransportError: the repository cannot be reached; what arrived is kept.
            StorageError: metadata or files cannot be kept: this says nothing of the repository.
        """
        try:
            self._metadata.mkdir(parents=True, exist_ok=True)
            updater = Updater(
                str(self._metadata), "metadata/", fetcher=_Fetcher(self._get), bootstrap=self._root
            )
            self._set_clock(updater)
            updater.refresh()
            _sync(self._metadata)
            told = self._target(updater, f"{release.path}/{MANIFEST}")
        except DownloadError as error:
            cause = error.__cause__ or error
            raise cause if isinstance(cause, TransportError) else TransportError(str(cause)) from None
        except (RepositoryError, ValueError) as error:
            raise UntrustedError(f"the repository's metadata does not verify: {error}") from None
        except OSError as error:
            raise StorageError(
                f"{self._metadata}: {error.strerror or error}: free some space or mend its permissions"
            ) from None
        raw = self._file(told, held, LIMITS.manifest_bytes)
        manifest = parse_manifest(raw)
        infos = {name: self._target(updater, f"{release.path}/{name}") for name in manifest.files}
        _check(manifest, release, infos)
        files = {name: self._file(info, held, LIMITS.bundle_bytes) for name, info in infos.items()}
        self.forget()
        return {MANIFEST: raw, **files}

    def forget(self) -> None:
        """Remove what was downloaded."""
        for name in self._flash.names(_PARTIAL):
            self._flash.delete(name)

    def _set_clock(self, updater: Updater) -> None:
        """Where this machine's clock is plainly wrong, signatures end by the service's.

        A clock years ahead would refuse what is fresh, one in 1970 take what ended long ago. Who holds the
        service could withhold updates anyway. python-tuf takes the time when it is made and has no other way.
        """
        offset_s = self._clock_offset_s()
        if abs(offset_s) > _CLOCK_OFF_S:
            updater._trusted_set.reference_time += datetime.timedelta(seconds=offset_s)

    def _target(self, updater: Updater, path: str) -> TargetFile:
        info = updater.get_targetinfo(path)
        if info is None:
            raise UntrustedError(f"the repository has no signed {path}: it was not published")
        return info

    def _file(self, info: TargetFile, held: Callable[[str], bytes | None], limit: int) -> bytes:
        digest = info.hashes.get("sha256", "")
        if info.length > limit:
            raise UntrustedError(f"{info.path} has {info.length} bytes, at most {limit} are accepted")
        known = held(digest)
        if known is not None and _is(known, info, digest):
            return known
        partial = f"{_PARTIAL}{digest}"
        path = f"targets/{info.get_prefixed_paths()[0]}"
        came = False  # something since the connection last broke: then it is worth going on at once
        while (size := self._flash.size(partial) or 0) < info.length:
            end = min(size + self._chunk, info.length)
            try:
                answer = self._part(path, size, end, info.length)
            except TransportError as error:
                smaller = error.status == _TOO_LONG and self._chunk < end - size
                if not smaller and (error.status or not came):
                    raise
                came = False
                continue
            if answer.status == 200:  # the server ignores ranges: this is the whole file
                size, end = 0, info.length
                self._flash.delete(partial)
                if len(answer.body) < info.length:
                    raise TransportError(f"{path}: {len(answer.body)} bytes came of {info.length}", 200)
            if not 0 < len(answer.body) <= info.length - size:
                self._flash.delete(partial)
                raise UntrustedError(f"{info.path}: {len(answer.body)} bytes came where {end - size} belong")
            self._flash.append(partial, answer.body)
            came = True
        data = self._flash.read(partial) or b""
        if not _is(data, info, digest):
            self._flash.delete(partial)
            raise UntrustedError(f"{info.path} is not what its signed metadata says: dropped")
        return data

    def _part(self, path: str, start: int, end: int, length: int) -> Response:
        """A range of a file, or all of it from a server that knows no ranges.

        Where the connection breaks, or whoever is between lets no more through, smaller ranges are asked for
        from then on: what arrived whole is kept.
        """
        try:
            answer = self._get(path, {"Range": f"bytes={start}-{end - 1}"}, _CHUNK_BYTES)
            if answer.status == 206 and not _starts_at(start, answer):
                return self._get(path, {}, length)
        except TransportError as error:
            if error.status == 200:  # longer than the range
                return self._get(path, {}, length)
            if error.status in (0, _TOO_LONG):
                self._chunk = max(_SMALLEST_CHUNK_BYTES, self._chunk // 2)
            raise
        self._chunk = min(_CHUNK_BYTES, self._chunk + self._chunk // 8)
        return answer


class _Fetcher(FetcherInterface):
    """python-tuf's requests for metadata, through our transport."""

    def __init__(self, get: Get) -> None:
        self._get = get

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            answer = self._get(url, {}, _METADATA_BYTES)
        except TransportError as error:
            if error.status in (403, 404):
                raise DownloadHTTPError(str(error), error.status) from None
            raise
        if b'"signatures"' not in answer.body:  # whoever wrote this is no repository: a proxy, a full disk
            raise TransportError(f"{url}: {len(answer.body)} bytes came that are no metadata", answer.status)
        return iter((answer.body,))


def _starts_at(start: int, answer: Response) -> bool:
    """Whether a part is of the range that was asked for: a cache between may give another one."""
    told = answer.headers.get("content-range", f"bytes {start}-")
    return told.lower().replace(" ", "").startswith(f"bytes{start}-")


def _check(manifest: Manifest, release: Release, infos: Mapping[str, TargetFile]) -> None:
    if manifest.release != release:
        raise UntrustedError(
            f"the bundle is {manifest.release}, assigned was {release}: not used, ask an operator"
        )
    for name, file in manifest.files.items():
        if (file.length, file.sha256) != (infos[name].length, infos[name].hashes.get("sha256")):
            raise UntrustedError(f"{name}: manifest and targets metadata disagree: not used")


def _is(data: bytes, info: TargetFile, digest: str) -> bool:
    return len(data) == info.length and hashlib.sha256(data).hexdigest() == digest


def _sync(folder: Path) -> None:
    """python-tuf renames but does not sync: lost metadata would let older metadata in after a power cut."""
    for path in (*folder.rglob("*"), folder):
        if not (path.is_file() or path.is_dir()):  # a foreign pipe would be waited for
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
