"""The one directory of everything Acclimate keeps on a machine."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`ACCLIMATE_HOME`, or `acclimate-home` in the working directory."""
    return Path(os.environ.get("ACCLIMATE_HOME") or "acclimate-home").absolute()
