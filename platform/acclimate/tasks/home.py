"""Where tasks keep what they make."""

from __future__ import annotations

from pathlib import Path

from acclimate.home import home


def pools() -> Path:
    """Built task pools."""
    return home() / "pools"


def downloads() -> Path:
    """Files fetched from publishers."""
    return home() / "downloads"
