"""The one directory of everything Acclimate keeps on a machine."""

from __future__ import annotations

import os
from pathlib import Path

from acclimate.errors import SettingsError
from acclimate.files import making

NAME = "acclimate-home"


def home() -> Path:
    """`ACCLIMATE_HOME`; without it the nearest `acclimate-home` in the working directory or above it.

    Where there is none yet, it will be made in the working directory.
    """
    given = os.environ.get("ACCLIMATE_HOME", "").strip()
    if given:
        return expanded(Path(given))
    here = Path.cwd()
    found = next((each / NAME for each in (here, *here.parents) if (each / NAME).is_dir()), None)
    return found or here / NAME


def expanded(path: Path) -> Path:
    """The absolute path, with `~` and `~name` resolved.

    Raises:
        SettingsError: nobody of that name is known here.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"the home {str(path)!r} cannot be resolved ({error})") from None


def made_home() -> Path:
    """`home()`, made for this account alone where it is not there yet; the rights of one that is stay."""
    folder = home()
    with making(f"the home {folder}", SettingsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
