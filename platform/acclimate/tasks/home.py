"""Where tasks keep what they make."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`ACCLIMATE_HOME`, or `acclimate-home` in the working directory."""
    return Path(os.environ.get("ACCLIMATE_HOME") or "acclimate-home").absolute()


def pools() -> Path:
    """Built task pools."""
    return home() / "pools"


def downloads() -> Path:
    """Files fetched from publishers."""
    return home() / "downloads"
