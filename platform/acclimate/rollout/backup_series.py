"""Backups by schedule: one a run in a folder of its own, and the oldest go."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from acclimate.errors import RolloutError
from acclimate.rollout.backup import MANIFEST, Backup, Tell, back_up, verify
from acclimate.rollout.settings import ServiceSettings

_NAME = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class OfSeries:
    """The new backup, where it is, and the names of those deleted for it."""

    backup: Backup
    folder: Path
    deleted: tuple[str, ...]


def back_up_into(settings: ServiceSettings, folder: Path, now: float, keep: int, tell: Tell) -> OfSeries:
    """Write a backup to `folder`/TIME, compare its every byte, then delete all but the newest `keep` there.

    Whatever else is in `folder` stays, drafts of interrupted runs and damaged backups included: none of them
    is counted, so that `keep` whole ones are there.

    Args:
        now: Unix seconds; in UTC it is the new backup's name.
        keep: at least one.

    Raises:
        RolloutError: as for `back_up`, or an old backup cannot be deleted; the new one is there then.
    """
    place = folder / datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    written = back_up(settings, place, now, tell)
    tell("verify")
    verify(place)
    whole = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if _NAME.fullmatch(path.parent.name))
    old = whole[:-keep]
    for path in old:
        try:
            (path / MANIFEST).unlink()  # first: from here on it is no backup
            shutil.rmtree(path)
        except OSError as error:
            raise RolloutError(
                f"{place} is written, and the old {path} cannot be deleted: {error.strerror}"
            ) from error
    return OfSeries(written, place, tuple(path.name for path in old))
