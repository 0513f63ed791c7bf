"""A repository whose files were damaged, cut or exchanged, and commands to copy from folders of any name."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.errors import BundleError

ROLES = ("1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json")


def begun(directory: Path, keys: Path) -> str:
    arguments = ["repo", "init", str(directory), "--keys", str(keys), "--unencrypted"]
    return CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False).output


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"signed": {}}', b"\xff\xfe", "half", "other"]
)
@pytest.mark.parametrize("role", ROLES)
def test_a_damaged_file_is_named(tmp_path: Path, role: str, damage: bytes | str) -> None:
    begun(tmp_path / "tuf", tmp_path / "keys")
    path = tmp_path / "tuf" / "metadata" / role
    other = path.with_name(ROLES[ROLES.index(role) - 1])
    changed = {"half": path.read_bytes()[:200], "other": other.read_bytes()}
    path.write_bytes(changed[damage] if isinstance(damage, str) else damage)
    for command in ("status", "refresh"):
        arguments = ["repo", command, str(tmp_path / "tuf")]
        arguments += ["--key", str(tmp_path / "keys")] if command == "refresh" else []
        with pytest.raises(BundleError, match=rf"{role} in .* is damaged"):
            CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'q"uote', "$HOME", "semi;colon", "ü-日本", "#x", "new\nline"]
)
def test_the_next_command_can_be_copied(tmp_path: Path, name: str) -> None:
    said = begun(tmp_path / name / "tuf", tmp_path / name / "keys")
    words = shlex.split(said.partition("next: ")[2], comments=True)
    assert str(tmp_path / name / "tuf") in words
    assert str(tmp_path / name / "keys") in words
    json.dumps(words)
