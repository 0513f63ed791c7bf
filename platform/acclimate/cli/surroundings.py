"""What surrounds a process and trips the libraries in it, put right before they are imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def put_right(environ: MutableMapping[str, str] = os.environ) -> None:
    """For this process and those it starts.

    - An account without a home (containers run under numbers that nobody named) gets `/`, as container
      runtimes give it: MLflow and Ray ask for one when they are imported.
    - Nothing on this machine is asked through a proxy: the proxy would look for it on its own.
    """
    try:
        Path.home()
    except RuntimeError:
        environ["HOME"] = "/"
    named = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    excepted = [host.strip() for host in named.split(",") if host.strip()]
    if "*" not in excepted and any(name.lower().endswith("_proxy") for name in environ):
        excepted += [host for host in LOOPBACK if host not in excepted]
        environ["no_proxy"] = environ["NO_PROXY"] = ",".join(excepted)
