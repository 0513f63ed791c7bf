"""The published recordings that tests read where they are at hand."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ACCLIMATE_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")


def recorded(*parts: str) -> Path:
    """A file of the reduced data sets; skips the test where it is not there."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no recordings at {path}: set ACCLIMATE_DATA_DIR")
    return path
