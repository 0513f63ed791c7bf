"""Nothing that was changed after signing is ever used. The long sweeps are slow tests and a benchmark."""

import datetime
import random
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from acclimate_device.agent.repository import Repository
from acclimate_device.errors import DeviceError, TransportError, UntrustedError
from acclimate_device.testing import SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from tests.support.gateway import release_of, version

METADATA = ["1.root.json", "2.targets.json", "2.snapshot.json", "timestamp.json"]


def repository() -> SimulatedRepository:
    made = SimulatedRepository()
    made.publish(version(2))
    return made


def fetch(source: SimulatedRepository, folder: Path, root: bytes | None = None) -> dict[str, bytes]:
    client = Repository(source.get, root or source.root, folder, SimulatedFlash())
    return client.fetch(release_of(2), lambda digest: None)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(source: SimulatedRepository, folder: Path) -> bool:
    """Whether a fetch is refused; what is not refused must be exactly what was published."""
    try:
        found = fetch(source, folder)
    except (UntrustedError, TransportError):
        return True
    assert found == version(2), "something else than what was signed was used"
    return False


def meaning(metadata: bytes) -> tuple[bytes, dict[str, bytes]]:
    """What is signed, in canonical form, and the signatures as numbers: what python-tuf compares."""
    parsed = Metadata.from_bytes(metadata)
    signatures = {key: bytes.fromhex(one.signature) for key, one in parsed.signatures.items()}
    return parsed.signed_bytes, signatures


def outcome(source: SimulatedRepository, name: str, bit: int, folder: Path) -> str:
    """Of flipping one bit of metadata: `refused`, or `same meaning`; anything else fails."""
    whole = source.files[f"metadata/{name}"]
    source.files[f"metadata/{name}"] = changed = flipped(whole, bit)
    try:
        if refused(source, folder):
            return "refused"
        assert meaning(changed) == meaning(whole), f"bit {bit} of {name} was accepted with another meaning"
        return "same meaning"
    finally:
        source.files[f"metadata/{name}"] = whole


def test_what_was_published_arrives(tmp_path: Path) -> None:
    assert fetch(repository(), tmp_path) == version(2)


@pytest.mark.parametrize("name", METADATA[1:])
def test_flipped_bits_of_metadata_are_refused(tmp_path: Path, name: str) -> None:
    """A sample of the sweep in `bench.device`, which flips every bit.

    A flip that turns a signature's `a` into `A` changes nothing: it is the same number.
    """
    source, rng = repository(), random.Random(0)
    bits = rng.sample(range(8 * len(source.files[f"metadata/{name}"])), 20)
    outcomes = [outcome(source, name, bit, tmp_path / str(bit)) for bit in bits]
    assert outcomes.count("refused") >= 15


def test_a_signature_in_capitals_is_the_same_signature(tmp_path: Path) -> None:
    source = repository()
    whole = source.files["metadata/timestamp.json"]
    (signature,) = (one.signature for one in Metadata.from_bytes(whole).signatures.values())
    letter = next(at for at, digit in enumerate(signature) if digit in "abcdef")
    bit = 8 * (whole.index(signature.encode()) + letter) + 5
    assert outcome(source, "timestamp.json", bit, tmp_path) == "same meaning"


@pytest.mark.parametrize("name", [*tiny_bundle()])
def test_flipped_bits_of_artifacts_are_refused(tmp_path: Path, name: str) -> None:
    source, rng = repository(), random.Random(1)
    path = source.path_of(name)
    whole = source.files[path]
    for bit in rng.sample(range(8 * len(whole)), 10):
        source.files[path] = flipped(whole, bit)
        with pytest.raises(UntrustedError, match="not what its signed metadata says"):
            fetch(source, tmp_path)


def test_an_artifact_that_is_longer_or_shorter_is_refused(tmp_path: Path) -> None:
    source = repository()
    path = source.path_of("predict.onnx")
    whole = source.files[path]
    source.files[path] = whole[:-1]
    with pytest.raises((UntrustedError, TransportError)):
        fetch(source, tmp_path)
    source.files[path] = whole + b"\0" * 10**6
    assert fetch(source, tmp_path) == version(2), "what is beyond the signed length is never asked for"


def test_a_range_that_gives_more_than_was_asked_is_refused(tmp_path: Path) -> None:
    source = repository()
    get = source.get

    def generous(path, headers, max_bytes):
        if "Range" not in headers:
            return get(path, headers, max_bytes)
        return get(path, {"Range": "bytes=0-99999999"}, max_bytes)

    source.files[source.path_of("adapt.onnx")] += b"more"
    source.get = generous
    with pytest.raises(UntrustedError, match="bytes came where"):
        fetch(source, tmp_path)


def test_expired_metadata_is_refused(tmp_path: Path) -> None:
    source = repository()
    source.sign(expires=datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
    with pytest.raises(UntrustedError, match="expired"):
        fetch(source, tmp_path)


@pytest.mark.parametrize("days", [-20, 3650])
def test_a_clock_that_is_far_off_is_not_what_signatures_end_by(tmp_path: Path, days: int) -> None:
    """The device's clock is so many days ahead of the repository's and the service's."""
    source, day = repository(), datetime.timedelta(days=1)
    there = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    offset_s = -86_400.0 * days

    def client(folder: str, ahead_s: float) -> Repository:
        return Repository(source.get, source.root, tmp_path / folder, SimulatedFlash(), lambda: ahead_s)

    source.sign(expires=there + day)
    assert client("fresh", offset_s).fetch(release_of(2), lambda digest: None) == version(2)
    source.sign(expires=there - day)
    with pytest.raises(UntrustedError, match="expired"):
        client("ended", offset_s).fetch(release_of(2), lambda digest: None)


def test_older_metadata_is_refused_once_newer_was_seen(tmp_path: Path) -> None:
    source = repository()
    old = dict(source.files)
    source.sign()
    fetch(source, tmp_path)
    source.files = old
    with pytest.raises(UntrustedError, match=r"version|EqualVersion"):
        fetch(source, tmp_path)


def test_metadata_of_another_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="does not verify"):
        fetch(repository(), tmp_path, root=repository().root)


def test_endless_metadata_is_cut_off(tmp_path: Path) -> None:
    source = repository()
    source.files["metadata/timestamp.json"] += b" " * 6_000_000
    with pytest.raises((UntrustedError, TransportError)):
        fetch(source, tmp_path)


def test_every_error_of_the_repository_is_one_of_ours(tmp_path: Path) -> None:
    for garbage in (b"", b"{}", b"\xff\xfe", b"[]", b'{"signed": 1, "signatures": []}'):
        for name in METADATA[1:]:
            source = repository()
            source.files[f"metadata/{name}"] = garbage
            with pytest.raises(DeviceError):
                fetch(source, tmp_path / name / str(len(garbage)))
