"""Keys opened with the passphrase that the environment gives, for commands and pipelines alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from acclimate.bundle.repository.keys import Signers, any_encrypted, load_keys
from acclimate.errors import BundleError

PASSPHRASE = "ACCLIMATE_KEY_PASSPHRASE"
PASSPHRASE_FILE = "ACCLIMATE_KEY_PASSPHRASE_FILE"


def signers(paths: Iterable[Path], ask: Callable[[], str | None] = lambda: None) -> Signers:
    """The keys in these files or folders.

    Args:
        ask: for the passphrase, where keys are encrypted and the environment holds none.

    Raises:
        BundleError: a key cannot be read, or its passphrase is missing or wrong.
    """
    paths = tuple(paths)
    if not any_encrypted(paths):
        return load_keys(paths, None)
    given = given_passphrase()
    return load_keys(paths, ask() if given is None else given)


def given_passphrase() -> str | None:
    """What the environment says, itself or by naming a file; None where it says nothing.

    Raises:
        BundleError: the file that it names cannot be read as text.
    """
    if PASSPHRASE in os.environ:
        return os.environ[PASSPHRASE]
    path = os.environ.get(PASSPHRASE_FILE)
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise BundleError(f"{PASSPHRASE_FILE} names {path}, which cannot be read as text") from None
