"""python-tuf's own client over real HTTP: it follows honest changes and refuses every dishonest one."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from acclimate.bundle.repository import KEYS, create, create_key, publish, refresh, rotate
from acclimate_device.protocol import FILES, MANIFEST
from tests.support.bundle_samples import write_plain_bundle

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class World:
    """A repository, a web server over it, its keys, and a device that keeps its trust on disk."""

    def __init__(self, directory):
        self.home = directory
        self.repository = directory / "repository"
        self.keys = {key: [create_key(directory / "keys" / f"{key}.pem", None)] for key in KEYS}
        self.signers = {signer.public_key.keyid: signer for (signer,) in self.keys.values()}
        create(self.repository, self.keys, NOW)
        self.bootstrap = self.metadata("1.root.json").read_bytes()
        self.published = 0
        self.publish()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(self.repository)))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def metadata(self, name):
        return self.repository / "metadata" / name

    def publish(self):
        self.published += 1
        bundle = self.home / f"bundle{self.published}"
        write_plain_bundle(bundle, version=self.published, fill=bytes([self.published]))
        publish(self.repository, bundle, self.signers, NOW)

    def rotate(self, key, name="new"):
        signer = create_key(self.home / "keys" / f"{key}-{name}.pem", None)
        rotate(self.repository, key, signer, self.signers, NOW)
        self.signers[signer.public_key.keyid] = signer
        self.keys[key] = [signer]

    def device(self, name="device"):
        """A client that goes on from what it trusted last."""
        folder = self.home / name
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        port = self.server.server_port
        return Updater(
            str(folder),
            f"http://127.0.0.1:{port}/metadata/",
            str(folder / "targets"),
            f"http://127.0.0.1:{port}/targets/",
            bootstrap=self.bootstrap,
        )

    def download(self, version, name="device"):
        """Every file of a release, as a device fetches it."""
        client = self.device(name)
        contents = {}
        for file in (MANIFEST, *FILES):
            info = client.get_targetinfo(f"start/{version}/{file}")
            if info is None:
                return None
            with open(client.download_target(info), "rb") as stream:
                contents[file] = stream.read()
        return contents

    def sign(self, name, change, key="online"):
        """Rewrite one metadata file with the right key, as a thief of that key could."""
        path = self.metadata(name)
        metadata = Metadata.from_bytes(path.read_bytes())
        change(metadata.signed)
        metadata.signatures.clear()
        for signer in self.keys[key]:
            metadata.sign(signer, append=True)
        path.write_bytes(metadata.to_bytes())


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def test_a_device_gets_exactly_what_was_published(world):
    got = world.download(1)
    assert got == {name: (world.home / "bundle1" / name).read_bytes() for name in (MANIFEST, *FILES)}
    assert world.download(2) is None
    world.publish()
    assert world.download(2)[FILES[0]] == (world.home / "bundle2" / FILES[0]).read_bytes()


def test_a_device_follows_every_rotation(world):
    world.download(1)
    for key in (*KEYS, *KEYS):
        world.rotate(key, f"{len(world.signers)}")
        world.publish()
    assert world.download(world.published)
    assert world.download(world.published, "device that slept through all of them, or is new")
    assert world.metadata("7.root.json").is_file()


def test_a_root_that_skips_the_old_keys_is_refused(world):
    world.device().refresh()
    world.rotate("root")
    stolen = Metadata.from_bytes(world.metadata("2.root.json").read_bytes())
    stolen.signatures.clear()
    stolen.sign(world.keys["root"][0])  # the new key alone
    world.metadata("2.root.json").write_bytes(stolen.to_bytes())
    with pytest.raises(UnsignedMetadataError):
        world.device().refresh()


def test_an_expired_timestamp_is_refused_and_a_refresh_mends_it(world):
    refresh(world.repository, world.signers, NOW - timedelta(days=3), force=True)
    with pytest.raises(ExpiredMetadataError):
        world.device().refresh()
    refresh(world.repository, {s.public_key.keyid: s for s in world.keys["online"]}, NOW)
    assert world.download(1)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_metadata_signed_with_another_key_is_refused(world, role):
    world.device().refresh()
    world.publish()
    if role == "root":
        world.rotate("root")
    name = {"root": "2.root.json", "targets": "3.targets.json", "snapshot": "3.snapshot.json"}.get(role)
    path = world.metadata(name or "timestamp.json")
    metadata = Metadata.from_bytes(path.read_bytes())
    metadata.signatures.clear()
    metadata.sign(create_key(world.home / "thief.pem", None))
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(UnsignedMetadataError):
        world.device().refresh()


def test_a_rollback_to_an_older_repository_is_refused(world):
    """An attacker replays everything as it was: valid signatures, lower versions."""
    old = world.home / "old"
    shutil.copytree(world.repository, old)
    world.publish()
    assert world.download(2)
    shutil.copy(old / "metadata" / "timestamp.json", world.metadata("timestamp.json"))
    client = world.device()
    with pytest.raises(BadVersionNumberError):
        client.refresh()


def test_an_older_snapshot_under_a_new_timestamp_is_refused(world):
    """Whoever steals the online key cannot take devices back either."""
    world.publish()
    world.device().refresh()
    world.sign("timestamp.json", lambda signed: _point(signed.snapshot_meta, 2, signed))
    with pytest.raises(BadVersionNumberError):
        world.device().refresh()


def _point(meta, version, signed):
    meta.version = version
    signed.version += 1


def test_mixing_an_old_targets_file_with_a_new_snapshot_is_refused(world):
    world.publish()
    shutil.copy(world.metadata("2.targets.json"), world.metadata("3.targets.json"))
    with pytest.raises(BadVersionNumberError):
        world.device().refresh()


def test_mixing_a_targets_version_back_in_the_snapshot_is_refused(world):
    world.publish()
    world.device().refresh()

    def older(snapshot):
        snapshot.meta["targets.json"].version = 2
        snapshot.version += 1

    world.sign("3.snapshot.json", older)
    shutil.copy(world.metadata("3.snapshot.json"), world.metadata("4.snapshot.json"))
    world.sign("timestamp.json", lambda signed: _point(signed.snapshot_meta, 4, signed))
    with pytest.raises(BadVersionNumberError):
        world.device().refresh()


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "missing"])
def test_a_damaged_file_is_refused(world, damage):
    (path,) = (world.repository / "targets" / "start" / "1").glob("*.params.safetensors")
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {"changed": b"X" + content[1:], "longer": content + b"X", "shorter": content[:-1]}[damage]
        )
    with pytest.raises((LengthOrHashMismatchError, DownloadError)):
        world.download(1)


def test_the_online_key_alone_cannot_invent_a_target(world):
    """A stolen service withholds, and never makes weights."""
    world.device().refresh()

    def invent(targets):
        targets.version += 1
        targets.targets["start/1/params.safetensors"].hashes["sha256"] = "0" * 64

    world.sign("2.targets.json", invent, key="online")
    shutil.copy(world.metadata("2.targets.json"), world.metadata("3.targets.json"))

    def newer(snapshot):
        snapshot.meta["targets.json"].version = 3
        snapshot.version += 1

    world.sign("2.snapshot.json", newer)
    shutil.copy(world.metadata("2.snapshot.json"), world.metadata("3.snapshot.json"))
    world.sign("timestamp.json", lambda signed: _point(signed.snapshot_meta, 3, signed))
    with pytest.raises(RepositoryError):
        world.device().refresh()
