import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.errors import DataError
from acclimate.tasks.datasets.download import PINS, Download, fetch
from acclimate.tasks.datasets.files import Files
from tests.support.answering import Asked, answering

CONTENT = bytes(range(256)) * 4000
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def published(asked: Asked) -> tuple[int, dict[str, str], bytes]:
    """`/whole`, `/changed`, `/cut` (announces more than it sends), anything else 404."""
    asked.close_connection = True
    body = {"/whole": CONTENT, "/changed": CONTENT[::-1], "/cut": CONTENT[:1000]}.get(asked.path)
    return (404, {}, b"") if body is None else (200, {"Content-Length": str(len(CONTENT))}, body)


@pytest.fixture(scope="module")
def publisher() -> Iterator[str]:
    with answering(published) as port:
        yield f"http://127.0.0.1:{port}"


def quiet(what: str, done: int, total: int) -> None: ...


def test_a_file_arrives_whole_with_progress_and_is_not_fetched_twice(publisher, tmp_path):
    told = []
    download = Download(f"{publisher}/whole", "data.zip", SHA256)
    path = fetch(download, tmp_path / "new", lambda *what: told.append(what))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("downloading data.zip", len(CONTENT), len(CONTENT))
    assert len(told) > 1
    told.clear()
    assert fetch(download, tmp_path / "new", lambda *what: told.append(what)) == path
    assert not told


@pytest.mark.parametrize(
    ("page", "checksum", "message"),
    [
        ("changed", SHA256, "is published: it was changed or damaged"),
        ("whole", "md5:" + "0" * 32, "is published"),
        ("cut", SHA256, "cannot download .*/cut"),
        ("absent", SHA256, "cannot download .*404"),
    ],
)
def test_what_is_not_the_published_file_leaves_nothing(publisher, tmp_path, page, checksum, message):
    with pytest.raises(DataError, match=message):
        fetch(Download(f"{publisher}/{page}", "data.zip", checksum), tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_remedy_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/whole"
        with pytest.raises(DataError, match=r"put data\.zip into a folder and name it by ACCLIMATE_DATA_DIR"):
            fetch(Download(url, "data.zip"), tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_an_unknown_checksum_is_pinned_at_the_first_download(publisher, tmp_path):
    download = Download(f"{publisher}/whole", "data.zip")
    fetch(download, tmp_path, quiet).unlink()
    assert json.loads((tmp_path / PINS).read_text()) == {download.url: SHA256}
    fetch(download, tmp_path, quiet).unlink()
    (tmp_path / PINS).write_text(json.dumps({download.url: "sha256:" + "0" * 64}))
    with pytest.raises(DataError, match="pinned at the first download"):
        fetch(download, tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == [PINS]


def test_files_are_looked_for_before_they_are_downloaded(publisher, tmp_path, monkeypatch):
    monkeypatch.delenv("ACCLIMATE_DATA_DIR", raising=False)
    data, downloads = tmp_path / "data", tmp_path / "downloads"
    (data / "folder").mkdir(parents=True)
    published = [Download(f"{publisher}/whole", "b.zip", SHA256)]

    def find(where: Path | None) -> list[Path]:
        return Files(where, downloads, quiet).find(("folder",), (("a1", "a2"), ("b.zip",)), published)

    assert find(None) == find(data) == [downloads / "b.zip"]
    (data / "b.zip").write_bytes(b"")
    assert find(data) == [data / "b.zip"]
    for name in ("a1", "a2"):
        (data / "folder" / name).write_bytes(b"")
    assert find(data) == [data / "folder" / "a1", data / "folder" / "a2"]
    monkeypatch.setenv("ACCLIMATE_DATA_DIR", str(data))
    assert find(None) == find(data)
    with pytest.raises(DataError, match=r"no-such.*does not exist"):
        find(tmp_path / "no-such")
