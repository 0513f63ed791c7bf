"""Documents as JSON can say them."""

from __future__ import annotations

import math
from typing import Any


def finite_or_none(value: Any) -> Any:
    """The document without what JSON cannot say: NaN and infinity are null."""
    if isinstance(value, dict):
        return {key: finite_or_none(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
