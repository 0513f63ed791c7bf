"""From what a person calls a release to the one that is pinned: name, version number and content hash.

What is in the signed repository decides: only a published bundle can be rolled out, and its signed metadata
says its content hash. The registry only adds names for versions (`press@candidate`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from acclimate.errors import AcclimateError, RolloutError
from acclimate.references import split_reference
from acclimate.rollout.file_store import FileStore
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import LIMITS, MANIFEST, Manifest, Release, loads

_ASKING = 8
"""Questions to the registry at once: one that never answers must not hold all threads that people have."""
AliasOf = Callable[[str, str], int]
"""(registered model, alias) to version number."""


@dataclass(frozen=True)
class Published:
    """A bundle in the repository."""

    release: Release
    manifest: Manifest


class Releases:
    """The published bundles.

    Args:
        metadata, targets: the two halves of the TUF repository.
        alias_of: asks the registry; None where there is none.
        tenants: the folder of the parts that fleets have for themselves; see `acclimate.bundle.repository`.
    """

    def __init__(
        self,
        metadata: FileStore,
        targets: FileStore,
        alias_of: AliasOf | None,
        tenants: Path | None,
    ) -> None:
        self._common, self._targets, self._alias_of, self._tenants = metadata, targets, alias_of, tenants
        self._asking = threading.BoundedSemaphore(_ASKING)

    def metadata(self, fleet: str = "") -> FileStore:
        """The signed metadata that a fleet reads: its own, or else what all read that have none."""
        own = self._tenants / fleet / "metadata" if self._tenants and fleet else None
        if own is None or not (own / "timestamp.json").is_file():
            return self._common
        return FileStore(own.absolute().as_uri())

    def has_own(self, fleet: str) -> bool:
        """Whether bundles were published for this fleet alone."""
        return self.metadata(fleet) is not self._common

    def metadata_file(self, fleet: str, name: str) -> FileStore:
        """Where a fleet reads one metadata file: the root, hence the keys, is everybody's."""
        return self._common if name.endswith(".root.json") else self.metadata(fleet)

    def published(self, fleet: str) -> list[Published]:
        """Every bundle published for a fleet, by name and then newest first; none while there is none."""
        if not self.metadata(fleet).exists("timestamp.json"):
            return []
        found = [self._read(path, digest) for path, digest in self._manifests(fleet).items()]
        return sorted(found, key=lambda one: (one.release.name, -one.release.version))

    def resolve(
        self, reference: str, fleet: str = "", knows: Callable[[str], bool] = lambda name: True
    ) -> Published:
        """What `NAME@VERSION`, `NAME@ALIAS`, or the newest of `NAME` stands for.

        Args:
            fleet: whose bundles.
            knows: whether whoever asks may know of a name; others are as if they were not there.

        Raises:
            RolloutError: no such bundle was published, or the registry knows no such alias.
        """
        try:
            name, ref = split_reference(reference)
        except AcclimateError as error:
            raise RolloutError(str(error)) from None
        alias = "" if ref.isdecimal() else ref
        version = int(ref) if ref.isdecimal() else 0
        if alias and knows(name):
            version = self._version_of(name, alias)
        manifests = self._manifests(fleet)
        versions = _versions(name, manifests) if knows(name) else {}
        if not versions:
            raise RolloutError(f"no bundle of {name!r} is published: export and publish it first")
        version = version or max(versions)
        if version not in versions:
            known = ", ".join(map(str, sorted(versions)[-10:]))
            raise RolloutError(f"version {version} of {name!r} is not published; published are: {known}")
        return self._read(versions[version], manifests[versions[version]])

    def check(self, release: Release) -> Published:
        """The release, if exactly it was published.

        Raises:
            RolloutError: it was not, or with another content hash.
        """
        found = self.resolve(f"{release.name}@{release.version}")
        if found.release.content_hash != release.content_hash:
            raise RolloutError(
                f"{release.path} is published with content hash {found.release.content_hash[:12]}…, "
                f"not {release.content_hash[:12]}…"
            )
        return found

    def _version_of(self, name: str, alias: str) -> int:
        if self._alias_of is None:
            advice = "name a version, or set ACCLIMATE_REGISTRY_URI"
            raise RolloutError(f"{name}@{alias} needs a registry: {advice}")
        if not self._asking.acquire(blocking=False):
            raise RolloutError(
                f"the registry does not answer those who asked before: try again later, or name a version "
                f"number in place of {alias!r}"
            )
        try:
            return self._alias_of(name, alias)
        finally:
            self._asking.release()

    def _manifests(self, fleet: str) -> dict[str, str]:
        """Path and SHA-256 of every manifest that the signed metadata lists."""
        store = self.metadata(fleet)
        try:
            timestamp = _signed(store, "timestamp.json")
            snapshot = _signed(store, f"{timestamp.snapshot_meta.version}.snapshot.json")
            targets = _signed(store, f"{snapshot.meta['targets.json'].version}.targets.json").targets
            return {path: targets[path].hashes["sha256"] for path in targets if path.endswith(f"/{MANIFEST}")}
        except FileNotFoundError:
            raise RolloutError("no bundle is published yet: export one and publish it first") from None
        except (OSError, KeyError) as error:
            raise RolloutError(f"the repository's metadata cannot be read: {error}") from error

    def _read(self, path: str, digest: str) -> Published:
        folder, _, name = path.rpartition("/")
        try:
            content = self._targets.read_all(f"{folder}/{digest}.{name}")
            manifest = loads(Manifest, content, LIMITS.manifest_bytes)
        except (OSError, ProtocolError) as error:
            raise RolloutError(f"{path} cannot be read from the repository: {error}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise RolloutError(f"{path} is not what the repository's metadata says: publish it again")
        return Published(manifest.release, manifest)


def _signed(store: FileStore, name: str) -> Any:
    """What the file of one role says, such as `3.snapshot.json`."""
    try:
        signed: Any = Metadata.from_bytes(store.read_all(name)).signed
        if signed.type != name.split(".")[-2]:
            raise DeserializationError(f"it holds that of {signed.type}")
    except DeserializationError as error:
        raise RolloutError(
            f"{name} of the repository is damaged ({error.__cause__ or error}): restore it from a backup"
        ) from error
    return signed


def _versions(name: str, paths: Iterable[str]) -> dict[int, str]:
    parts = (path.split("/") for path in paths)
    return {int(part[1]): "/".join(part) for part in parts if part[0] == name and part[1].isdecimal()}
