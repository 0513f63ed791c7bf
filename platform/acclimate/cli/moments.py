"""Moments and durations as tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def moment(at: float | None) -> str:
    """Unix seconds as local date and time; `-` for none."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def token_state(token: Mapping[str, Any], now: float) -> str:
    """Whether a token still lets anybody in, and if not, why."""
    if token["revoked_at"]:
        return "revoked"
    if token["expires_at"] is not None and token["expires_at"] <= now:
        return "expired"
    return "used up" if token.get("used", 0) >= token.get("quota", 1) else "valid"


def ago(at: float | None, now: float) -> str:
    """How long ago, in the largest whole unit; `never` for none."""
    if at is None:
        return "never"
    seconds = max(now - at, 0.0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
