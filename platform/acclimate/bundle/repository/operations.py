"""What people and schedules do with a repository: create, publish, refresh, renew, rotate."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Snapshot, TargetFile, Targets, Timestamp

from acclimate.bundle.repository.editing import Edit
from acclimate.bundle.repository.keys import Signers
from acclimate.bundle.repository.roles import KEYS, ROLES_OF_KEY, TERMS, KeyName
from acclimate.bundle.repository.storage import Storage
from acclimate.errors import BundleError
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import LIMITS, MANIFEST, Manifest, Release, loads


@dataclass(frozen=True)
class Published:
    """What `publish` did.

    Attributes:
        release: the bundle's name, version and content hash.
        added: False if exactly these files were published before.
        visible: whether devices see it now; otherwise `refresh` with the online key makes it visible.
    """

    release: Release
    added: bool
    visible: bool


def create(
    directory: Path, keys: Mapping[KeyName, list[Signer]], now: datetime, *, root_threshold: int = 1
) -> None:
    """Make an empty repository.

    Args:
        keys: every key's signers; several root keys make losing one survivable.
        root_threshold: how many root keys must sign a new root.

    Raises:
        BundleError: there is a repository already, or there are fewer root keys than must sign.
    """
    storage = Storage(directory)
    if storage.exists:
        raise BundleError(f"{directory} is a repository already: use it, or choose another directory")
    if not 1 <= root_threshold <= len(keys["root"]):
        raise BundleError(
            f"{root_threshold} of {len(keys['root'])} root keys cannot sign: make more root keys, or lower "
            "the threshold"
        )
    signers = {signer.public_key.keyid: signer for each in keys.values() for signer in each}
    with storage.lock():
        edit = Edit(storage, signers, now)
        with edit.edit_root() as root:
            for key in KEYS:
                for role in ROLES_OF_KEY[key]:
                    for signer in keys[key]:
                        root.add_key(signer.public_key, role)
            root.get_delegated_role("root").threshold = root_threshold
        for role in (Targets.type, Snapshot.type, Timestamp.type):
            with edit.edit(role):
                pass
        edit.commit()


def publish(
    directory: Path,
    bundle: Path,
    signers: Signers,
    now: datetime,
    *,
    artifacts_url: str = "",
    tenant: str = "",
) -> Published:
    """Add a bundle's files as targets `<name>/<version>/<file>`; with the online key, devices see it at once.

    Publishing the same files again does nothing.

    Args:
        artifacts_url: where the service reads targets, if not in the repository: an fsspec URL.
        tenant: the fleet that alone learns of the bundle; empty for all that have no part of their own.

    Raises:
        BundleError: the directory holds no whole bundle, this version was published with other content, the
            targets key is missing, or the object store refuses the files.
    """
    manifest, files = _read_bundle(bundle)
    release = manifest.release
    targets = {
        f"{release.path}/{name}": TargetFile.from_data(f"{release.path}/{name}", content, ["sha256"])
        for name, content in files.items()
    }
    with _editing(directory, signers, now, artifacts_url, tenant) as edit:
        known = {
            path: info for path, info in edit.targets().targets.items() if path.startswith(f"{release.path}/")
        }
        added = not known
        if known and known != targets:
            raise BundleError(
                f"{release.name} version {release.version} is published with other content, and what is "
                "published never changes: register a new version and publish that"
            )
        if added:
            for path, info in targets.items():
                edit.add_target(info.get_prefixed_paths()[0], files[path.rpartition("/")[2]])
            with edit.edit_targets() as current:
                current.targets.update(targets)
        online = edit.can_sign(Snapshot.type) and edit.can_sign(Timestamp.type)
        if online:
            _renew_online(edit, now)
        elif not Storage(directory, tenant=tenant).latest(Timestamp.type):
            raise BundleError(f"the first bundle of {tenant!r} needs the online key too: pass it with --key")
        visible = online or _visible(edit)
    return Published(release, added, visible)


def refresh(directory: Path, signers: Signers, now: datetime, *, force: bool = False) -> tuple[str, ...]:
    """Sign snapshot and timestamp anew where something changed or half their term is over.

    Run it on a schedule, well within the timestamp's term; only the online key is needed.

    Args:
        force: sign both even if nothing calls for it.

    Returns:
        The roles with a new version.

    Raises:
        BundleError: there is no repository, or the online key is missing.
    """
    changed: list[str] = []
    for tenant in _parts(directory):
        with _editing(directory, signers, now, tenant=tenant) as edit:
            _renew_online(edit, now, force=force)
        changed += _told(tenant, edit)
    return tuple(changed)


def renew(directory: Path, key: KeyName, signers: Signers, now: datetime) -> tuple[str, ...]:
    """Sign a key's roles anew, unchanged, for another term; with the online key devices see it at once.

    Raises:
        BundleError: there is no repository, or a key that must sign is missing.
    """
    changed: list[str] = []
    for tenant in _parts(directory) if key != "root" else [""]:
        with _editing(directory, signers, now, tenant=tenant) as edit:
            if key == "online":
                _renew_online(edit, now, force=True)
            else:
                with edit.edit(key):
                    pass
                if key == "targets" and edit.can_sign(Timestamp.type):
                    _renew_online(edit, now)
        changed += _told(tenant, edit)
    return tuple(changed)


def rotate(
    directory: Path, key: KeyName, new: Signer, signers: Signers, now: datetime, *, retire: str | None = None
) -> tuple[str, ...]:
    """Replace a key by a new one: a new root, signed by the old root's keys, says so.

    What the retired key signed is signed anew in the same step, so no device ever meets a role without a
    valid signature. Rotating `targets` therefore needs the root, the online and the new key.

    Args:
        new: the new key's signer.
        signers: root's keys, and the online key unless that is what rotates or only root does.
        retire: the id of the key to replace, or its beginning; needed only where there are several.

    Raises:
        BundleError: a key that must sign is missing, or it is unclear which one to retire.
    """
    held = {**signers, new.public_key.keyid: new}
    with _editing(directory, held, now) as edit:
        with edit.edit_root() as root:
            for role in ROLES_OF_KEY[key]:
                root.revoke_key(_only_match(root.get_delegated_role(role).keyids, key, retire), role)
                root.add_key(new.public_key, role)
        _sign_anew(edit, key, now)
    changed = _told("", edit)
    for tenant in Storage(directory).tenants if key != "root" else []:
        with _editing(directory, held, now, tenant=tenant) as edit:
            _sign_anew(edit, key, now)
        changed += _told(tenant, edit)
    return tuple(changed)


def _sign_anew(edit: Edit, key: KeyName, now: datetime) -> None:
    if key == "targets":
        with edit.edit_targets():
            pass
    if key != "root":
        _renew_online(edit, now, force=key == "online")


def _parts(directory: Path) -> list[str]:
    """The tenants with a part of their own, after the part of everybody else."""
    return ["", *Storage(directory).tenants]


def _told(tenant: str, edit: Edit) -> list[str]:
    return [f"{tenant}/{role}" if tenant else role for role in edit.changed]


@contextlib.contextmanager
def _editing(
    directory: Path, signers: Signers, now: datetime, artifacts_url: str = "", tenant: str = ""
) -> Iterator[Edit]:
    storage = Storage(directory, artifacts_url, tenant)
    if not storage.exists:
        raise BundleError(f"{directory} holds no repository: make one with `acclimate repo init {directory}`")
    with storage.lock():
        edit = Edit(storage, signers, now)
        yield edit
        if edit.changed:
            edit.commit()


def _renew_online(edit: Edit, now: datetime, *, force: bool = False) -> None:
    for role in (Snapshot.type, Timestamp.type):
        if not edit.can_sign(role):
            wanted = ", ".join(keyid[:8] for keyid in edit.root().get_delegated_role(role).keyids)
            raise BundleError(f"the online key ({wanted}) is needed to sign {role}: pass its file with --key")
    edit.do_snapshot(force or _due(edit.snapshot().expires, Snapshot.type, now))
    edit.do_timestamp(force or _due(edit.timestamp().expires, Timestamp.type, now))


def _due(expires: datetime, role: str, now: datetime) -> bool:
    return expires - now <= TERMS[role].renew_before


def _visible(edit: Edit) -> bool:
    snapshot = edit.snapshot()
    return (
        snapshot.meta["targets.json"].version == edit.targets().version
        and edit.timestamp().snapshot_meta.version == snapshot.version
    )


def _only_match(keyids: list[str], key: KeyName, retire: str | None) -> str:
    matches = [keyid for keyid in keyids if keyid.startswith(retire or "")]
    if len(matches) != 1:
        raise BundleError(
            f"{retire or 'no key id'!r} names {len(matches)} of the {key} keys "
            f"{', '.join(each[:8] for each in keyids)}: say which one to replace with --retire"
        )
    return matches[0]


def _read_bundle(directory: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and every file's content, checked against the manifest."""
    try:
        raw = (directory / MANIFEST).read_bytes()
        manifest = loads(Manifest, raw, LIMITS.manifest_bytes)
        files = {name: (directory / name).read_bytes() for name in manifest.files}
    except (OSError, ProtocolError) as error:
        raise BundleError(f"{directory} holds no whole bundle ({error}): export it again") from error
    for name, content in files.items():
        told = manifest.files[name]
        if len(content) != told.length or hashlib.sha256(content).hexdigest() != told.sha256:
            raise BundleError(
                f"{directory / name} is not the file that the manifest describes: export it again"
            )
    return manifest, {MANIFEST: raw, **files}
