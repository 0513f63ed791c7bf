"""A new repository with new keys, in one go: interrupted at any moment, the same command makes it whole."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from acclimate.bundle.repository.keys import create_key
from acclimate.bundle.repository.operations import create
from acclimate.bundle.repository.storage import Storage
from acclimate.errors import BundleError
from acclimate.files import write_whole

UNFINISHED = ".unfinished"
"""Names the key files that are being made, one a line; gone once there is a repository."""


def begin(
    directory: Path,
    folder: Path,
    passphrase: str | None,
    now: datetime,
    *,
    root_keys: int = 1,
    root_threshold: int = 1,
) -> list[Path]:
    """Make the repository `directory` and its keys in `folder`; gives the root keys' files.

    Args:
        passphrase: of the root and targets keys; the online key has none.

    Raises:
        BundleError: there is a repository or a key of that name already, or one cannot be written.
    """
    if Storage(directory).exists:
        raise BundleError(f"{directory} is a repository already: use it, or choose another directory")
    _take_back(directory)
    names = ["root.pem"] if root_keys == 1 else [f"root-{index + 1}.pem" for index in range(root_keys)]
    roots, targets, online = [folder / name for name in names], folder / "targets.pem", folder / "online.pem"
    files = [*roots, targets, online]
    for file in files:
        if file.exists():
            raise BundleError(f"{file} exists and is not overwritten: choose another directory for the keys")
    write_whole(directory / UNFINISHED, "".join(f"{file.absolute()}\n" for file in files))
    try:
        create(
            directory,
            {
                "root": [create_key(file, passphrase) for file in roots],
                "targets": [create_key(targets, passphrase)],
                "online": [create_key(online, None)],
            },
            now,
            root_threshold=root_threshold,
        )
    except BaseException:
        _take_back(directory)
        raise
    (directory / UNFINISHED).unlink()
    return roots


def _take_back(directory: Path) -> None:
    """Remove what an interrupted beginning left: nobody can have trusted or used any of it."""
    marker, metadata = directory / UNFINISHED, directory / "metadata"
    if not marker.is_file() or any(metadata.glob("2.*")):  # the second version of anything: it was in use
        return
    for line in marker.read_text("utf-8").splitlines():
        Path(line).unlink(missing_ok=True)
    for left in metadata.glob("*"):
        left.unlink()
    marker.unlink()
