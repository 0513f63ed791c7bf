import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate.bundle.repository.keys import any_encrypted, create_key, load_keys
from acclimate.errors import BundleError


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_survives_its_file(tmp_path, passphrase):
    path = tmp_path / "keys" / "root.pem"
    made = create_key(path, passphrase)
    (loaded,) = load_keys([path], passphrase).values()
    signature = loaded.sign(b"payload")
    made.public_key.verify_signature(signature, b"payload")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert any_encrypted([path]) == (passphrase is not None)


def test_a_key_is_never_overwritten(tmp_path):
    create_key(tmp_path / "root.pem", None)
    before = (tmp_path / "root.pem").read_bytes()
    with pytest.raises(BundleError, match="exists and is not overwritten"):
        create_key(tmp_path / "root.pem", None)
    assert (tmp_path / "root.pem").read_bytes() == before


def test_a_directory_stands_for_its_keys(tmp_path):
    ids = {create_key(tmp_path / f"{name}.pem", "x").public_key.keyid for name in ("a", "b")}
    (tmp_path / "notes.txt").write_text("not a key")
    assert load_keys([tmp_path], "x").keys() == ids


def test_errors_name_the_file_and_never_the_passphrase(tmp_path):
    path = tmp_path / "root.pem"
    create_key(path, "correct horse")
    with pytest.raises(BundleError, match=r"root\.pem is encrypted: set ACCLIMATE_KEY_PASSPHRASE"):
        load_keys([path], None)
    with pytest.raises(BundleError, match="the passphrase is wrong") as caught:
        load_keys([path], "battery staple")
    assert "battery" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        load_keys([tmp_path / "nowhere.pem"], None)
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "text.pem").chmod(0o600)
    with pytest.raises(BundleError, match="no private key in PEM"):
        load_keys([tmp_path / "text.pem"], None)


def test_a_key_that_everyone_reads_is_refused(tmp_path):
    create_key(tmp_path / "root.pem", None)
    (tmp_path / "root.pem").chmod(0o644)
    with pytest.raises(BundleError, match="readable by everyone"):
        load_keys([tmp_path / "root.pem"], None)
    (tmp_path / "root.pem").chmod(0o440)  # as Kubernetes mounts it
    assert load_keys([tmp_path / "root.pem"], None)


@pytest.mark.parametrize("word", ["größer", "日本"])
def test_a_passphrase_in_a_file_is_the_same_whatever_the_locale(tmp_path: Path, word: str) -> None:
    (tmp_path / "word").write_text(f"{word}\n", "utf-8")
    code = "from acclimate.bundle.repository.passphrase import *; print(ascii(given_passphrase()))"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain["ACCLIMATE_KEY_PASSPHRASE_FILE"] = str(tmp_path / "word")
    told = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True)
    assert told.stdout.strip() == ascii(word), told.stderr
