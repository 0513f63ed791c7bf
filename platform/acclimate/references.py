"""How people name a version, the same everywhere: `NAME@REF`, such as `watch@3` or `watch@champion`."""

from __future__ import annotations

import re

from acclimate.errors import AcclimateError

_REFERENCE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,127})(?:@(?P<ref>[\w.-]{1,128})|:(?P<version>[1-9]\d{0,8}))?",
    re.ASCII,
)


def split_reference(text: str) -> tuple[str, str]:
    """Name and REF: a number, an alias, `latest` or a content hash; empty for a name alone.

    `NAME:VERSION`, the older notation of releases, is read as well.

    Raises:
        AcclimateError: it is none of these.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise AcclimateError(f"{text!r} names no version: write NAME@REF, such as watch@3 or watch@champion")
    return match["name"], match["ref"] or match["version"] or ""
