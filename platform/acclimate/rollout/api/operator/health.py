"""How a running service does, for `acclimate doctor`: what fails, what ends soon, what is full."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from acclimate.rollout.api.conditions import certificate, signatures
from acclimate.rollout.api.operator.caller import AsViewer
from acclimate.rollout.api.operator.context import AtDesk, Desk
from acclimate.rollout.api.problems import why_unavailable

router = APIRouter(tags=["health"])
SLOW_WRITE_S, SOON_S, LITTLE_DISK_BYTES = 1.0, 86_400.0, 1 << 30


class HealthFinding(BaseModel):
    """One thing looked at, as `acclimate doctor` shows it; `remedy` is empty where nothing is to be done."""

    check: str
    level: Literal["ok", "warning", "error"]
    found: str
    remedy: str = ""


@router.get("/health")
def health(desk: AtDesk, operator: AsViewer) -> list[HealthFinding]:
    """What this replica finds of itself: its database, its disk, signatures that end, and work that fails."""
    operator.require_all_fleets()
    now = time.time()
    return [*_database(desk, now), *_disk(desk), *_rights(desk), *_ends(desk, now), *_faults(desk, now)]


def _database(desk: Desk, now: float) -> Iterator[HealthFinding]:
    started = time.monotonic()
    try:
        desk.store.ping(now)
    except Exception as error:
        remedy = "reports are refused until it takes them: look at the database and its disk"
        yield HealthFinding(check="database", level="error", found=why_unavailable(error), remedy=remedy)
        return
    seconds = time.monotonic() - started
    slow = seconds > SLOW_WRITE_S
    remedy = "look at its load and at what holds locks" if slow else ""
    found = f"a write takes {seconds * 1000:.0f} ms"
    yield HealthFinding(check="database", level="warning" if slow else "ok", found=found, remedy=remedy)


def _disk(desk: Desk) -> Iterator[HealthFinding]:
    free = shutil.disk_usage(desk.settings.home).free
    little = free < LITTLE_DISK_BYTES
    remedy = "make room: a full disk stops reports" if little else ""
    found = f"{free / 1e9:.1f} GB free at {desk.settings.home}"
    yield HealthFinding(check="disk", level="warning" if little else "ok", found=found, remedy=remedy)


def _rights(desk: Desk) -> Iterator[HealthFinding]:
    """Nothing here changes the rights of what was there before: it is said, and left to its owner."""
    for path, may in desk.settings.exposed.items():
        found = f"other accounts of the machine may {may} {path}"
        remedy = f"chmod o-rwx {path}, unless others are meant to"
        yield HealthFinding(check="rights", level="warning", found=found, remedy=remedy)


def _ends(desk: Desk, now: float) -> Iterator[HealthFinding]:
    ends = {f"signature of {one.labels['role']}": one.value for one in signatures(desk.settings.tuf).samples}
    for one in certificate(desk.settings.tls_certificate).samples:
        ends["certificate"] = one.value
    for check, end in ends.items():
        hours = (end - now) / 3600
        found = f"ended {-hours:.1f} h ago" if hours < 0 else f"ends in {hours:.1f} h"
        if end - now > SOON_S:
            yield HealthFinding(check=check, level="ok", found=found)
            continue
        renew = "acclimate repo refresh and acclimate repo status" if "signature" in check else "renew it"
        level: Literal["warning", "error"] = "error" if hours < 0 else "warning"
        yield HealthFinding(check=check, level=level, found=found, remedy=renew)


def _faults(desk: Desk, now: float) -> Iterator[HealthFinding]:
    current = desk.faults.current() if desk.faults else []
    for fault in current:
        what = f"{fault.part} {fault.subject}".strip()
        found = f"{fault.error} ({fault.times} times in {now - fault.since:.0f} s)"
        remedy = "the log of this replica has the first failure's trace; the rest goes on"
        yield HealthFinding(check=what, level="error", found=found, remedy=remedy)
    if not current:
        yield HealthFinding(check="work", level="ok", found="every rollout, fleet and exporter is looked at")
