"""What a search or a comparison set out to do, kept beside its results so that nothing else mixes in.

Figures of two recipes, of two versions of the data or of two versions of Acclimate are not one table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import acclimate
from acclimate.errors import TrainingError
from acclimate.files import write_whole
from acclimate.training.recipe import differing_keys

_FILE = "plan.json"


def keep_plan(directory: Path, plan: Mapping[str, Any], other: str) -> None:
    """Note the plan in a folder, or refuse to go on with what another plan began there.

    Args:
        plan: JSON types.
        other: what such a folder holds, in words.

    Raises:
        TrainingError: names the version that began it, or every key that differs.
    """
    path, planned = directory / _FILE, {"version": acclimate.__version__, **plan}
    if not path.exists():
        write_whole(path, json.dumps(planned, indent=2) + "\n")
        return
    begun, planned = json.loads(path.read_text("utf-8")), json.loads(json.dumps(planned))
    if begun == planned:
        return
    by = begun.get("version") if isinstance(begun, dict) else None
    if by != acclimate.__version__:
        raise TrainingError(
            f"{directory} was begun by {f'acclimate {by}' if by else 'an older acclimate'}, and this is "
            f"{acclimate.__version__}, whose figures may differ: finish it with the one that began it, or "
            "start again without --resume"
        )
    differing = "\n  ".join(differing_keys(begun, planned))
    raise TrainingError(
        f"{directory} holds {other}:\n  {differing}\nset these back, or start again without --resume"
    )
