"""A bundle in memory: its manifest and the files the manifest vouches for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from acclimate_device.errors import BundleError, ProtocolError
from acclimate_device.protocol import LIMITS, MANIFEST, Manifest, loads


@dataclass(frozen=True)
class Bundle:
    """A manifest and the bytes of every file it lists, whose hashes hold."""

    manifest: Manifest
    files: Mapping[str, bytes]


def read_bundle(read: Callable[[str], bytes | None]) -> Bundle:
    """Read a bundle by `read(file name)` and check every length and hash before anything parses the bytes.

    Raises:
        BundleError: a file is missing, too large, or not the one the manifest lists.
    """
    raw = read(MANIFEST)
    if raw is None:
        raise BundleError(f"the bundle has no {MANIFEST}: it was never downloaded whole")
    manifest = parse_manifest(raw)
    files = {name: _checked(read(name), name, manifest) for name in manifest.files}
    return Bundle(manifest, files)


@functools.lru_cache(maxsize=8)
def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest and hold it against the size limits; the latest few are kept, they never change.

    Raises:
        BundleError: not a manifest, or the files it lists are too large together.
    """
    try:
        manifest = loads(Manifest, raw, LIMITS.manifest_bytes)
    except ProtocolError as error:
        raise BundleError(f"{error}: export the bundle again, or update acclimate-device") from None
    total = sum(file.length for file in manifest.files.values())
    if total > LIMITS.bundle_bytes:
        raise BundleError(f"the bundle holds {total} bytes, at most {LIMITS.bundle_bytes} are accepted")
    return manifest


def _checked(data: bytes | None, name: str, manifest: Manifest) -> bytes:
    expected = manifest.files[name]
    if data is None:
        raise BundleError(f"the bundle has no {name}: it was never downloaded whole")
    if len(data) != expected.length or hashlib.sha256(data).hexdigest() != expected.sha256:
        raise BundleError(f"{name} is not the file the manifest lists: download the bundle again")
    return data
