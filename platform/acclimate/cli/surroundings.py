"""What surrounds a process and trips the libraries in it, put right before they are imported."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from acclimate.errors import SettingsError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def put_right(environ: MutableMapping[str, str] = os.environ) -> None:
    """For this process and those it starts.

    - An account without a home (containers run under numbers that nobody named) gets `/`, as container
      runtimes give it: MLflow and Ray ask for one when they are imported.
    - Nothing on this machine is asked through a proxy: the proxy would look for it on its own.
    - A standard stream that was closed is the null device: nothing else may get its number.
    - What a stream's encoding lacks, a locale of plain ASCII or Latin-1 say, is written as its code point.

    Raises:
        SettingsError: the folder it was started in is gone.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()
    except OSError as error:  # deleted, or no longer ours to enter
        raise SettingsError(f"the folder this runs in is gone ({error}): go to another") from None
    try:
        Path.home()
    except RuntimeError:
        environ["HOME"] = "/"
    named = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    excepted = [host.strip() for host in named.split(",") if host.strip()]
    if "*" not in excepted and any(name.lower().endswith("_proxy") for name in environ):
        excepted += [host for host in LOOPBACK if host not in excepted]
        environ["no_proxy"] = environ["NO_PROXY"] = ",".join(excepted)
