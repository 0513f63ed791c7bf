"""A rollout's plan as YAML, as several commands take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from acclimate.errors import RolloutError


def read_plan(path: Path) -> dict[str, Any]:
    """The plan's keys, unchecked: the service checks them.

    Raises:
        RolloutError: it is not YAML, or holds no keys.
    """
    try:
        read = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RolloutError(f"{path} is not YAML: {error}") from None
    if not isinstance(read, dict):
        raise RolloutError(f"{path} holds no plan: write keys such as waves, gates, control_share")
    return {str(key): value for key, value in read.items()}
