"""Editing metadata in memory and committing it whole, on top of python-tuf's `Repository`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface
from tuf.repository import Repository

from acclimate.bundle.repository.keys import Signers
from acclimate.bundle.repository.roles import TERMS
from acclimate.bundle.repository.storage import TIMESTAMP, Storage
from acclimate.errors import BundleError

_EMPTY: dict[str, type[Root | Targets | Snapshot | Timestamp]] = {
    kind.type: kind for kind in (Root, Targets, Snapshot, Timestamp)
}
# Root just before the timestamp: until then nothing that devices see has changed, and what they see between
# the two is mended by the next refresh.
_COMMIT_ORDER = (Targets.type, Snapshot.type, Root.type, Timestamp.type)


class Edit(Repository):
    """New versions of metadata, signed and staged; `commit` makes them visible.

    Args:
        storage: where the current metadata lies.
        signers: the keys at hand; a role without enough of them cannot be edited.
        now: the time from which signatures hold.
    """

    def __init__(self, storage: Storage, signers: Signers, now: datetime) -> None:
        self._storage = storage
        self._signers = signers
        self._now = now.replace(microsecond=0)  # TUF's time has no fractions
        self._staged: dict[str, Metadata[Any]] = {}
        self._targets: dict[str, bytes] = {}

    def open(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role, staged or stored; an empty one at version 0 where there is none."""
        if role in self._staged:
            return Metadata.from_bytes(self._staged[role].to_bytes())
        if self._storage.latest(role) is not None:
            return self._storage.newest(role)
        empty: Metadata[Any] = Metadata(_EMPTY[role]())
        empty.signed.version = 0
        return empty

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Stage the next version of a role's metadata, signed anew.

        Raises:
            BundleError: too few of the keys that must sign it are at hand.
        """
        if role not in self._staged:  # several edits of one transaction become one version
            md.signed.version += 1
        md.signed.expires = self._now + TERMS[role].holds
        root: Root = md.signed if role == Root.type else self.root()
        md.signatures.clear()
        for keyid in self._signing_keys(role, root):
            if keyid in self._signers:
                md.sign(self._signers[keyid], append=True)
        self._require_threshold(role, root, md)
        self._staged[role] = md

    def add_target(self, path: str, content: bytes) -> None:
        """Stage the content of a target file under its path in `targets/`."""
        self._targets[path] = content

    def can_sign(self, role: str) -> bool:
        """Whether enough of a role's keys are at hand."""
        delegated = self.root().get_delegated_role(role)
        return len(set(delegated.keyids) & self._signers.keys()) >= delegated.threshold

    @property
    def changed(self) -> tuple[str, ...]:
        """The roles with a staged version."""
        return tuple(self._staged)

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        return {"targets.json": MetaFile(self.targets().version)}

    @property
    def snapshot_info(self) -> MetaFile:
        return MetaFile(self.snapshot().version)

    def commit(self) -> None:
        """Write what is staged, after python-tuf's client has accepted it.

        Raises:
            BundleError: a device would refuse the result; nothing is written.
        """
        staged = [(role, self._staged[role]) for role in _COMMIT_ORDER if role in self._staged]
        files = {_file_name(role, md): md.to_bytes() for role, md in staged}
        self._rehearse(files)
        for path, content in self._targets.items():
            self._storage.add_target(path, content)
        for name, content in files.items():
            self._storage.add_metadata(name, content)

    def _signing_keys(self, role: str, root: Root) -> list[str]:
        keyids = list(root.get_delegated_role(role).keyids)
        if role == Root.type:
            published = self._storage.latest(Root.type)
            old = self._storage.newest(Root.type).signed if published else root
            keyids += [keyid for keyid in old.roles[Root.type].keyids if keyid not in keyids]
        return keyids

    def _require_threshold(self, role: str, root: Root, md: Metadata[Any]) -> None:
        published = self._storage.latest(Root.type)
        if role != Root.type or published is None:
            verified = bool(root.get_verification_result(role, md.signed_bytes, md.signatures))
        else:
            old = self._storage.newest(Root.type).signed
            verified = bool(root.get_root_verification_result(old, md.signed_bytes, md.signatures))
        if not verified:
            wanted = ", ".join(keyid[:8] for keyid in self._signing_keys(role, root))
            raise BundleError(
                f"{role} must be signed by {wanted}, and not enough of these keys are at hand: "
                "pass their files with --key"
            )

    def _rehearse(self, files: dict[str, bytes]) -> None:
        first = "1.root.json"
        bootstrap = self._storage.read(first) if self._storage.exists else files[first]
        with tempfile.TemporaryDirectory() as cache:
            updater = Updater(cache, "staged://", fetcher=_Staged(self._storage, files), bootstrap=bootstrap)
            try:
                updater.refresh()
            except ExpiredMetadataError:
                # Each expired role may need another person's key: mending one must not wait for the others.
                return
            except RepositoryError as error:
                raise BundleError(
                    f"devices would refuse the repository after this change ({error}): nothing was written; "
                    "see `acclimate repo status`, and pass every key that must sign"
                ) from error


def _file_name(role: str, md: Metadata[Any]) -> str:
    return TIMESTAMP if role == Timestamp.type else f"{md.signed.version}.{role}.json"


class _Staged(FetcherInterface):
    """Serves the repository as it would be after the commit."""

    def __init__(self, storage: Storage, files: dict[str, bytes]) -> None:
        self._storage = storage
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        name = (parts.netloc + parts.path).strip("/")
        try:
            yield self._files[name] if name in self._files else self._storage.read(name)
        except FileNotFoundError:
            raise DownloadHTTPError(f"{name} does not exist", 404) from None
