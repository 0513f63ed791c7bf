"""The repository's directory: `metadata/` and `targets/`, which any static web server can serve.

Writes are durable before they are visible, see `acclimate.files`.
The targets, by far the larger part, may lie in an object store instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from acclimate.errors import AcclimateError, BundleError, MissingExtraError
from acclimate.files import create_whole, write_whole

TIMESTAMP = "timestamp.json"
TENANTS = "tenants"


class Storage:
    """One repository on a local or mounted file system.

    A tenant's part of it has the repository's root, hence its keys, and targets, snapshot and timestamp of
    its own under `tenants/<tenant>/metadata`. Not a delegation: its name, its paths and its version would
    stand in the metadata that every tenant's devices read.

    Args:
        artifacts_url: an fsspec URL (s3://bucket/targets, ...) for new target files; empty: `targets/`.
        tenant: whose part; empty for the one that all read who have none of their own.
    """

    def __init__(self, directory: Path, artifacts_url: str = "", tenant: str = "") -> None:
        self.directory = directory
        self._roots = directory / "metadata"
        self.metadata = directory / TENANTS / tenant / "metadata" if tenant else self._roots
        self.targets = directory / "targets"
        self._artifacts_url = artifacts_url.rstrip("/")

    @property
    def exists(self) -> bool:
        """Whether there is a repository, which one whose making was interrupted is not."""
        return (self._roots / TIMESTAMP).is_file()

    @property
    def tenants(self) -> list[str]:
        """Who has a part of their own."""
        found = (self.directory / TENANTS).glob(f"*/metadata/{TIMESTAMP}")
        return sorted(path.parent.parent.name for path in found)

    def newest(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role.

        Raises:
            BundleError: there is none, or its file is damaged.
        """
        name = self.latest(role)
        if name is None:
            raise BundleError(f"{self.metadata} lacks the metadata of {role}: restore it from a backup")
        try:
            found: Metadata[Any] = Metadata.from_bytes(self.read(name))
            if found.signed.type != role:
                raise DeserializationError(f"it holds that of {found.signed.type}")
        except DeserializationError as error:
            raise BundleError(
                f"{name} in {self.metadata} is damaged ({error.__cause__ or error}): restore it from a "
                "backup, or from where devices read it"
            ) from error
        return found

    def latest(self, role: str) -> str | None:
        """The file name of a role's newest metadata, or None."""
        if role == "timestamp":
            return TIMESTAMP if (self.metadata / TIMESTAMP).is_file() else None
        pattern = re.compile(rf"(\d+)\.{role}\.json")
        folder = self._roots if role == "root" else self.metadata
        names = folder.iterdir() if folder.is_dir() else ()
        versions = [int(match[1]) for path in names if (match := pattern.fullmatch(path.name))]
        return f"{max(versions)}.{role}.json" if versions else None

    def read(self, name: str) -> bytes:
        """One metadata file.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = self._roots if name.endswith(".root.json") else self.metadata
        return (folder / name).read_bytes()

    def add_target(self, path: str, content: bytes) -> None:
        """Store a target file; `path` holds its hash, so a file that is there already is the same.

        Raises:
            BundleError: the object store does not take it.
        """
        if self._artifacts_url:
            _upload(f"{self._artifacts_url}/{path}", content)
            return
        file = self.targets / path
        if not file.is_file():
            with contextlib.suppress(FileExistsError):
                create_whole(file, content)

    def add_metadata(self, name: str, content: bytes) -> None:
        """Write metadata: `timestamp.json` is replaced, every other file must be new.

        Raises:
            BundleError: the file exists, so someone else wrote this version meanwhile.
        """
        if name == TIMESTAMP:
            write_whole(self.metadata / name, content)
            return
        try:
            create_whole(self.metadata / name, content)
        except FileExistsError:
            raise BundleError(
                f"{self.metadata / name} was just written by another process: run the command again"
            ) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process writes at a time."""
        self.metadata.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _upload(url: str, content: bytes) -> None:
    try:
        from acclimate.object_store import open_store, reaching
    except ModuleNotFoundError as error:
        raise MissingExtraError("rollout", "fsspec") from error
    try:
        files, place = open_store(url)
        with reaching(url):
            # Where a store has no atomic put, a broken upload left a shorter file.
            if not files.exists(place) or files.size(place) != len(content):
                files.makedirs(files._parent(place), exist_ok=True)
                files.pipe_file(place, content)
    except (AcclimateError, OSError) as error:
        raise BundleError(f"{error}. Devices see nothing of this bundle: publish it again") from error
