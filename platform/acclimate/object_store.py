"""Files by URL: every wait for an object store is bounded, and its library's errors become one of ours.

Stores are reached through fsspec. What its drivers wait by default adds up to half an hour for a store that
takes connections and says nothing, and each driver has errors of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import fsspec
from fsspec.config import conf as configured
from fsspec.utils import get_protocol

from acclimate.errors import AcclimateError, MissingExtraError, StoreError

CONNECT_S, ANSWER_S, TRIES = 5.0, 20.0, 3
"""Seconds for a connection and for an answer, and how often both are tried."""

SKEW_S = 240.0
"""Seconds that clocks may be apart, below what S3 itself takes (15 minutes, some stores 5)."""

_LOCAL = ("file", "local", "memory")
_S3 = ("s3", "s3a")
_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
# Of fsspec, its drivers, and the clients below them. Their OSErrors are known by the URL alone.
_LIBRARIES = {"aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}
_WRONG_PLACES = ("Invalid endpoint", "Failed to list path")  # how S3's clients begin a ValueError
_NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def is_remote(url: str) -> bool:
    """Whether a URL names something beyond this machine's file systems."""
    return "://" in url and get_protocol(url) not in _LOCAL


def open_store(url: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path in it. Nothing is connected to yet.

    Waits are `CONNECT_S`, `ANSWER_S` and `TRIES` for S3, unless fsspec's own configuration says otherwise.

    Raises:
        MissingExtraError: the driver of S3 is not installed.
        AcclimateError: another driver is not installed, or nobody knows the URL's kind.
    """
    protocol = get_protocol(url)
    options: dict[str, Any] = {}
    if protocol in _S3 and "::" not in url:
        given = configured.get(protocol, {}).get("config_kwargs", {})
        waits = {
            "connect_timeout": CONNECT_S,
            "read_timeout": ANSWER_S,
            "retries": {"total_max_attempts": 1},  # the driver above tries again itself
        }
        options["config_kwargs"] = waits | given
    try:
        files, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        if protocol in _S3:
            raise MissingExtraError("s3", "s3fs") from error
        driver = _DRIVERS.get(protocol, "its driver for fsspec")
        raise AcclimateError(f"{url} needs a package that is not installed: pip install {driver}") from error
    except ValueError as error:
        raise AcclimateError(f"{url} is no place that files can be in: {error}") from error
    if protocol in _S3:
        files.retries = TRIES
    return files, str(path)


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns what a store's library raises into one error; missing and local files keep theirs.

    Raises:
        StoreError: the store behind `url` does not answer, or does not let us in.
    """
    try:
        yield
    except _NOT_THERE:
        raise
    except Exception as error:
        if not is_remote(url) or not _is_of_a_store(error):
            raise
        raise StoreError(f"{url} cannot be used: {_told(error)}") from error


def _is_of_a_store(error: Exception) -> bool:
    libraries = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    of_settings = isinstance(error, ValueError) and str(error).startswith(_WRONG_PLACES)
    return isinstance(error, OSError) or bool(libraries & _LIBRARIES) or of_settings


def _told(error: Exception) -> str:
    """What happened and what to do, in a sentence."""
    said = " ".join(str(error).split())[:300] or type(error).__name__
    seen = f"{said} {error.__cause__ or ''} {type(error).__name__}".lower()
    ahead_s = _ahead_s(error)
    if abs(ahead_s) > SKEW_S or "timetooskewed" in seen:
        return f"this machine's clock is {ahead_s:+.0f} s from the store's ({said}): set it, by NTP say"
    if "nocredentials" in seen or "anonymous" in seen:
        return (
            f"no credentials are given ({said}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "this machine a role"
        )
    if isinstance(error, PermissionError):
        return f"it refuses us ({said}): are the credentials right, and may they list, read and write there?"
    return f"{said}: does it run, and is its address right (AWS_ENDPOINT_URL for S3)?"


def _ahead_s(error: Exception) -> float:
    """How far this machine's clock is ahead of the one in the store's answer; zero where there is none.

    The answer to a HEAD says 403 and no more, whatever is wrong with a request.
    """
    answer = getattr(error.__cause__ or error, "response", None)
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if isinstance(answer, dict) else {}
    try:
        return time.time() - parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return 0.0
