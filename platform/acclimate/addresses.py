"""Addresses as people write them: read in one place, so that a mistake is told and a password is not."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from acclimate.errors import AcclimateError, SettingsError

_SECRET = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
"""A parameter that lets in, as PostgreSQL's client library takes it too."""


def parts_of(address: str, name: str, error: type[AcclimateError] = SettingsError) -> SplitResult:
    """An address's scheme, host, port and path.

    Args:
        name: of the setting or option that it was given with.

    Raises:
        AcclimateError: of the kind given; it is none.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port  # is read, and may be wrong, only now
        of_a_file = parts.scheme.startswith("sqlite")  # whose path may be anything
        if not of_a_file and (not address.isprintable() or " " in address):
            raise ValueError("it holds a blank or a control character")
    except ValueError as problem:
        why = str(problem).partition(" as ")[0]  # what follows may be a part of a password with a slash in it
        raise error(f"{name} {without_password(address)!r} is no address: {why}") from None
    return parts


def without_password(uri: str) -> str:
    """The URI as it may be printed: `scheme://user:***@host/...?password=***`."""
    shown = _SECRET.sub(r"\1***", uri)
    head, at, tail = shown.rpartition("@")
    start = head.find("://") + 3 if "://" in head else 0
    user, colon, _ = head[start:].partition(":")
    return f"{head[:start]}{user}{colon and ':***'}{at}{tail}"
