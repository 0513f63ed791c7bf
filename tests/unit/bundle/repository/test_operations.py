"""Publishing only adds; every change is acceptable to devices, or is not made."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata

from acclimate.bundle.repository import KEYS, create, create_key, publish, refresh, renew, rotate, status
from acclimate.bundle.repository.storage import Storage
from acclimate.errors import BundleError
from acclimate.rollout.file_store import FileStore
from acclimate_device.protocol import FILES, MANIFEST
from tests.support.bundle_samples import write_plain_bundle

NOW = datetime.now(UTC)


class Site:
    """A repository with its keys, and what lies in it."""

    def __init__(self, directory, root_keys=1, root_threshold=1):
        self.directory = directory / "repository"
        self.folder = directory / "keys"
        self.keys = {
            key: [
                create_key(self.folder / f"{key}-{index}.pem", None)
                for index in range(root_keys if key == "root" else 1)
            ]
            for key in KEYS
        }
        create(self.directory, self.keys, NOW, root_threshold=root_threshold)

    def signers(self, *names):
        return {s.public_key.keyid: s for name in names or KEYS for s in self.keys[name]}

    def files(self):
        paths = (path for path in self.directory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in paths}

    def signed(self, name):
        return Metadata.from_bytes(Storage(self.directory).read(name)).signed


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def bundle(tmp_path):
    return write_plain_bundle(tmp_path / "bundle")


def only_added(before, after):
    """Everything that was there is there unchanged, but for the timestamp."""
    return all(
        after[name] == content for name, content in before.items() if name != "metadata/timestamp.json"
    )


def test_a_published_bundle_is_five_targets(site, bundle):
    before = site.files()
    done = publish(site.directory, bundle, site.signers(), NOW)
    assert (done.added, done.visible) == (True, True)
    targets = site.signed("2.targets.json").targets
    assert set(targets) == {f"start/1/{name}" for name in (MANIFEST, *FILES)}
    for name in (MANIFEST, *FILES):
        content = (bundle / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert targets[f"start/1/{name}"].hashes == {"sha256": digest}
        assert site.files()[f"targets/start/1/{digest}.{name}"] == content
    assert only_added(before, site.files())
    assert status(site.directory, NOW).releases == ("start/1",)


def test_publishing_twice_changes_nothing(site, bundle):
    publish(site.directory, bundle, site.signers(), NOW)
    before = site.files()
    done = publish(site.directory, bundle, site.signers(), NOW)
    assert (done.added, done.visible) == (False, True)
    assert site.files() == before


def test_targets_go_to_an_object_store_where_the_service_finds_them(site, bundle):
    url = f"memory://{uuid.uuid4().hex}/targets/"
    publish(site.directory, bundle, site.signers(), NOW, artifacts_url=url)
    assert not any(name.startswith("targets/") for name in site.files())
    served = FileStore(url)
    for path, target in site.signed("2.targets.json").targets.items():
        content = served.read_all(f"start/1/{target.hashes['sha256']}.{path.rpartition('/')[2]}")
        assert hashlib.sha256(content).hexdigest() == target.hashes["sha256"]


def test_an_object_store_that_refuses_leaves_the_repository_as_it_was(site, bundle):
    before = site.files()
    with pytest.raises(BundleError, match=r"nosuchstore://bucket/start/1/.* is no place"):
        publish(site.directory, bundle, site.signers(), NOW, artifacts_url="nosuchstore://bucket")
    assert site.files() == before


def test_what_is_published_never_changes(site, bundle, tmp_path):
    publish(site.directory, bundle, site.signers(), NOW)
    before = site.files()
    other = write_plain_bundle(tmp_path / "other", fill=b"y")
    with pytest.raises(BundleError, match="start version 1 is published with other content"):
        publish(site.directory, other, site.signers(), NOW)
    assert site.files() == before
    publish(site.directory, write_plain_bundle(tmp_path / "two", version=2, fill=b"y"), site.signers(), NOW)
    assert only_added(before, site.files())
    assert status(site.directory, NOW).releases == ("start/1", "start/2")


def test_without_the_online_key_it_shows_after_the_next_refresh(site, bundle):
    done = publish(site.directory, bundle, site.signers("targets"), NOW)
    assert (done.added, done.visible) == (True, False)
    assert site.signed("1.snapshot.json").meta["targets.json"].version == 1
    assert refresh(site.directory, site.signers("online"), NOW) == ("snapshot", "timestamp")
    assert site.signed("2.snapshot.json").meta["targets.json"].version == 2


@pytest.mark.parametrize("names", [("online",), ("root",), ("root", "online")])
def test_publishing_needs_the_targets_key(site, bundle, names):
    before = site.files()
    with pytest.raises(BundleError, match="targets must be signed by"):
        publish(site.directory, bundle, site.signers(*names), NOW)
    assert site.files() == before


@pytest.mark.parametrize("damage", ["missing", "other", "manifest"])
def test_half_a_bundle_is_not_published(site, bundle, damage):
    if damage == "missing":
        (bundle / FILES[0]).unlink()
    elif damage == "other":
        (bundle / FILES[1]).write_bytes(b"something else")
    else:
        (bundle / MANIFEST).write_text('{"schema": 1}')
    before = site.files()
    with pytest.raises(BundleError, match="export it again"):
        publish(site.directory, bundle, site.signers(), NOW)
    assert site.files() == before


def test_refresh_waits_until_half_the_term_is_over(site):
    online = site.signers("online")
    assert refresh(site.directory, online, NOW + timedelta(hours=23)) == ()
    assert refresh(site.directory, online, NOW + timedelta(hours=25)) == ("timestamp",)
    assert refresh(site.directory, online, NOW + timedelta(days=7)) == ("snapshot", "timestamp")
    assert refresh(site.directory, online, NOW + timedelta(days=7), force=True) == ("snapshot", "timestamp")


def test_refresh_needs_the_online_key(site):
    with pytest.raises(BundleError, match="the online key"):
        refresh(site.directory, site.signers("root", "targets"), NOW)


def test_refresh_mends_a_timestamp_that_expired(site):
    late = NOW + timedelta(days=3)
    assert {role.role: role.state for role in status(site.directory, late).roles}["timestamp"] == "expired"
    refresh(site.directory, site.signers("online"), late)
    assert status(site.directory, late).worst == "valid"


def test_terms_are_announced_before_they_end(site):
    states = {role.role: role.state for role in status(site.directory, NOW + timedelta(days=310)).roles}
    assert states == {"root": "renew", "targets": "expired", "snapshot": "expired", "timestamp": "expired"}
    assert status(site.directory, NOW).worst == "valid"
    assert status(site.directory, NOW + timedelta(hours=30)).worst == "renew"


def test_each_role_is_renewed_by_its_own_key_whatever_else_expired(site):
    late = NOW + timedelta(days=400)
    renew(site.directory, "root", site.signers("root"), late)
    renew(site.directory, "targets", site.signers("targets"), late)
    renew(site.directory, "online", site.signers("online"), late)
    assert status(site.directory, late).worst == "valid"


@pytest.mark.parametrize("key", KEYS)
def test_a_rotated_key_signs_and_the_old_one_no_longer(site, bundle, key):
    old = site.signers()
    new = create_key(site.folder / "new.pem", None)
    before = site.files()
    rotate(site.directory, key, new, old, NOW)
    assert only_added(before, site.files())
    keys = {role.role: role.keys for role in status(site.directory, NOW).roles}
    assert new.public_key.keyid in keys[{"root": "root", "targets": "targets", "online": "timestamp"}[key]]
    with pytest.raises(BundleError, match=r"must be signed by|is needed to sign"):
        renew(site.directory, key, old, NOW)
    assert publish(site.directory, bundle, {**old, new.public_key.keyid: new}, NOW).visible


def test_a_new_root_is_signed_by_the_old_and_the_new_key(site):
    new = create_key(site.folder / "new.pem", None)
    rotate(site.directory, "root", new, site.signers("root"), NOW)
    signatures = Metadata.from_bytes(Storage(site.directory).read("2.root.json")).signatures
    assert set(signatures) == {new.public_key.keyid, *site.signers("root")}


@pytest.mark.parametrize(("key", "missing"), [("root", "root"), ("targets", "root"), ("targets", "online")])
def test_rotation_without_a_key_that_must_sign_changes_nothing(site, key, missing):
    new = create_key(site.folder / "new.pem", None)
    signers = site.signers(*(name for name in KEYS if name != missing))
    before = site.files()
    with pytest.raises(BundleError, match=r"pass (their|its) files? with --key"):
        rotate(site.directory, key, new, signers, NOW)
    assert site.files() == before


def test_two_of_three_root_keys(tmp_path):
    site = Site(tmp_path, root_keys=3, root_threshold=2)
    one, two, three = site.keys["root"]
    new = create_key(site.folder / "new.pem", None)

    def ids(*signers):
        return {signer.public_key.keyid: signer for signer in signers}

    with pytest.raises(BundleError, match="names 3 of the root keys"):
        rotate(site.directory, "root", new, ids(one, two), NOW)
    with pytest.raises(BundleError, match="root must be signed by"):
        rotate(site.directory, "root", new, ids(one), NOW, retire=three.public_key.keyid[:8])
    rotate(site.directory, "root", new, ids(one, two), NOW, retire=three.public_key.keyid[:8])
    with pytest.raises(BundleError, match="root must be signed by"):
        renew(site.directory, "root", ids(three, one), NOW)
    renew(site.directory, "root", ids(new, one), NOW)


def test_a_repository_is_made_once(site, tmp_path):
    with pytest.raises(BundleError, match="is a repository already"):
        create(site.directory, site.keys, NOW)
    with pytest.raises(BundleError, match="2 of 1 root keys cannot sign"):
        create(tmp_path / "new", site.keys, NOW, root_threshold=2)
    with pytest.raises(BundleError, match="holds no repository"):
        refresh(tmp_path / "nowhere", {}, NOW)


@pytest.mark.parametrize("survivors", range(8))
def test_a_crash_while_publishing_is_mended_by_publishing_again(site, bundle, survivors, monkeypatch):
    """Writing stops after some of the files: devices see the old state, and the next attempt completes it."""
    written = []
    add_target, add_metadata = Storage.add_target, Storage.add_metadata

    def until_crash(write):
        def wrapped(self, name, content):
            if len(written) == survivors:
                raise KeyboardInterrupt
            written.append(name)
            write(self, name, content)

        return wrapped

    before = site.files()
    with monkeypatch.context() as crashing:
        crashing.setattr(Storage, "add_target", until_crash(add_target))
        crashing.setattr(Storage, "add_metadata", until_crash(add_metadata))
        with pytest.raises(KeyboardInterrupt):
            publish(site.directory, bundle, site.signers(), NOW)
    assert site.files()["metadata/timestamp.json"] == before["metadata/timestamp.json"]
    assert only_added(before, site.files())
    assert publish(site.directory, bundle, site.signers(), NOW).visible
    assert status(site.directory, NOW).releases == ("start/1",)
