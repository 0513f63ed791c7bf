"""Joining a Ray cluster, or starting a Ray of this machine's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from acclimate.errors import TrainingError


def connect(address: str | None, workers: int) -> None:
    """Join the cluster at `address`, or start a Ray of our own with `workers` slots.

    Args:
        address: `auto` on a node of the cluster, `host:6379`, or `ray://host:10001` from outside. Where the
            cluster asks for a token, Ray needs RAY_AUTH_MODE=token and looks for it in RAY_AUTH_TOKEN,
            RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token.

    Raises:
        TrainingError: the cluster cannot be joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        with _imports_as_here():
            # "local", and never a cluster that some earlier process left an address file of
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        return
    if address.startswith(("http://", "https://")):
        raise TrainingError(
            f"{address} is a Jobs API: send the recipe there with `acclimate submit --address {address}`, or "
            "give the cluster itself: auto, host:6379 or ray://host:10001"
        )
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise TrainingError(
            f"no Ray cluster can be joined at {address} ({first_line}): is it up, is its Ray "
            f"{ray.__version__}, and if it asks for a token, are RAY_AUTH_MODE=token and RAY_AUTH_TOKEN set?"
        ) from error


@contextmanager
def _imports_as_here() -> Iterator[None]:
    """Processes started meanwhile import what this one can, the user's own models included."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
