"""Where tasks keep what they make."""

from __future__ import annotations

from pathlib import Path

from acclimate.home import made_home


def pools() -> Path:
    """Built task pools."""
    return made_home() / "pools"


def downloads() -> Path:
    """Files fetched from publishers."""
    return made_home() / "downloads"
