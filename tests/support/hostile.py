"""A fleet whose devices send the extreme of every field, beside a fleet that only wants its rollout."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.plan import Gate, Wave
from acclimate.rollout.domain.rollout import State
from acclimate_device.protocol import LIMITS, REPORT_PATH, Report
from tests.support.extremes import fields, sample, with_value
from tests.support.rollout_samples import OLD, a_rollout
from tests.support.rollout_world import World as Honest
from tests.unit.rollout.conftest import PretendDevice, World

HOSTILE = "hostile"
UNLIMITED = {"operator_rate": 0, "anonymous_rate": 0, "device_rate": 0, "report_bytes_rate": 0}
PLAN: dict[str, Any] = {
    "waves": (Wave(share=0.3, min_devices=10), Wave(share=0.6, min_devices=10)),
    "gates": (Gate("loss", tolerance=1.0, proof=True), Gate("failure"), Gate("latency", quantile=0.9)),
    "control_share": 0.4,
    "silence_s": 600.0,
}
PAGES = (
    "/console/",
    f"/console/fleets/{HOSTILE}",
    f"/console/fleets/{HOSTILE}/devices",
    "/console/rollouts",
    "/console/rollouts/hostile-1",
    "/console/rollouts/hostile-1/decisions",
    "/console/audit",
    "/metrics",
    "/readyz",
)
CALLS = (
    "/fleets",
    f"/fleets/{HOSTILE}/counts",
    f"/fleets/{HOSTILE}/devices",
    "/rollouts",
    "/rollouts/hostile-1",
    "/rollouts/hostile-1/observations",
    "/rollouts/hostile-1/decisions",
)


def extreme_reports(told: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Reports with one field at or beyond its edge, and whether the schema takes them."""
    base = sample(Report) | told
    kept = ("id", "release.name", "release.version", "release.content_hash")
    for field in fields(Report):
        for fits, values in ((True, field.good), (False, field.bad)):
            for value in values if field.name not in kept else ():
                yield with_value(base, field.path, value) | {"id": secrets.token_hex(16)}, fits
    for value in (LIMITS.number, 0.0, 1e17):  # whole reports of extremes, under the counter that gates hear
        loss = {"count": 1, "sum": value, "sum_of_squares": value * value, "maximum": value}
        numbers = dict.fromkeys(("predictions", "mistakes", "steps", "drifts", "adaptations"), LIMITS.count)
        more = {"adapted_loss": loss, "start_loss": loss, "predict_us": loss | {"count": LIMITS.count}}
        yield base | numbers | more | {"id": secrets.token_hex(16), "events": []}, True


async def drive(world: World, honest: Honest, devices: int, rounds: int) -> int:
    """Send extremes from `devices` devices for `rounds` rounds of the honest fleet; how many reports."""
    await world.call("POST", "/fleets", {"name": HOSTILE}, 201)
    hostile = [await world.device(HOSTILE, site="<b>'\"") for _ in range(devices)]
    world.service.store.set_baseline(HOSTILE, "", OLD, honest.now, "ada")
    world.service.store.add_rollout(a_rollout("hostile-1", HOSTILE, **PLAN), "ada")
    start = Decision("hostile-1", honest.now, "start", "asked", "ada", 0)
    world.service.store.step_rollout("hostile-1", lambda one, _: life.start(one, honest.now), start)
    honest.do("start")
    sent = 0
    for _ in range(rounds):
        honest.round()
        await world.service.refresh()
        for device in hostile:
            sent += await _attack(world, device)
        await world.service.write_taken()
    await _look_everywhere(world, hostile[0])
    honest.until(State.DONE, rounds=60)
    honest.store.prune(honest.now + 1e9, honest.controller._token)
    await _look_everywhere(world, hostile[0])
    assert world.service.faults.current() == []
    return sent


async def _attack(world: World, device: PretendDevice) -> int:
    state = await device.desired()
    release = {"name": OLD.name, "version": OLD.version, "content_hash": OLD.content_hash}
    if state.release is not None:
        release |= {"version": state.release.version, "content_hash": state.release.content_hash}
    cases = list(extreme_reports({"release": release, "counter": state.counter}))
    for at in range(0, len(cases), LIMITS.batch_reports):
        batch = cases[at : at + LIMITS.batch_reports]
        body = json.dumps({"schema": 1, "reports": [report for report, _ in batch]}).encode()
        answer = await world.http.post(REPORT_PATH, content=body, headers=device.headers)
        assert answer.status_code == 200, answer.text
        accepted = set(answer.json()["accepted"])
        for report, fits in batch:
            ordered = report["ended_at"] >= report["started_at"] if fits else True
            assert (report["id"] in accepted) == (fits and ordered), report
    return len(cases)


async def _look_everywhere(world: World, device: PretendDevice) -> None:
    for path in (*PAGES, f"/console/fleets/{HOSTILE}/devices/{device.identity.device_id}"):
        answer = await world.http.get(path)
        assert answer.status_code == 200, (path, answer.text[:500])
    for path in CALLS:
        await world.call("GET", path)
    reports = await world.call("GET", f"/fleets/{HOSTILE}/devices/{device.identity.device_id}/reports")
    assert reports
