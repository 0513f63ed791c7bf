"""One live rollout as its controller sees it: who takes part, what they showed, what that adds up to.

The database stays the truth. A watch is what a leader remembers between ticks, so that a tick costs what is
new and not what there is; a new leader builds the same watch from the rows.
"""

from __future__ import annotations

from acclimate.errors import RolloutError
from acclimate.rollout.domain.assignment import assign
from acclimate.rollout.domain.evidence import GateEvidence, Observation
from acclimate.rollout.domain.fleet import Fleet
from acclimate.rollout.domain.gates import judge
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout
from acclimate.rollout.domain.settle import hear, heard_return, is_settled, settle
from acclimate.rollout.domain.tally import Tally
from acclimate.rollout.store import Store

PAGE = 10_000
OVERLAP_S = 60.0
"""Tellings are written shortly after they happen; older ones are looked for again by this much."""


class Watch:
    """The observations of one rollout in memory."""

    def __init__(self, store: Store, rollout: Rollout) -> None:
        self._store, self.rollout = store, rollout
        found = store.observations(rollout.id)
        self.observations = {one.device: one for one in found}
        self.tally = Tally(rollout.plan, found)
        self._settled = max((one.order for one in found if one.order is not None), default=0)
        self._watched = {one.device for one in found if one.order is None}
        self._progress = store.progress(rollout.id)
        self._taken_until = max((one.taken_at for one in found), default=0.0)
        self._doubled: set[str] = set()
        self.verdicts: tuple[str, ...] = ()

    def update(self, rollout: Rollout, now: float, token: int) -> None:
        """Take in who was told and what was reported since the last time, and store what follows.

        At most one page of reports: a tick must end within the lease, however many have come.
        """
        self.rollout = rollout
        fleet = self._store.fleet(rollout.plan.fleet)
        self._doubled = {device.id for device in self._store.doubled_devices(fleet.name)}
        self._take_in()
        self._leave_out(token)
        changed: dict[str, Observation] = {}
        reports = self._store.reports_after(fleet.name, self._progress, PAGE)
        for report in reports:
            self._hear(fleet, report, changed)
        progress = reports[-1].sequence if reports else self._progress
        if len(reports) < PAGE:  # silence is certain only once everything that came was heard
            self._settle_the_due(now, changed)
        if changed or progress != self._progress:
            self._store.save_observations(rollout.id, list(changed.values()), progress, token)
        self._progress = progress

    def evidence(self) -> tuple[GateEvidence, ...]:
        """Every gate's verdict now."""
        return judge(self.rollout.plan, self.tally)

    def settled_in_wave(self) -> int:
        """Canaries of the current wave whose outcome is fixed."""
        return self.tally.settled["canary", self.rollout.wave]

    def facts(self) -> dict[str, int]:
        """Figures that every decision keeps."""
        canaries = [one for one in self.observations.values() if one.arm == "canary"]
        return {
            "canaries": len(canaries),
            "controls": len(self.observations) - len(canaries),
            "settled_in_wave": self.settled_in_wave(),
            "returned": sum(one.returned for one in canaries),
            "silent": sum(one.silence for one in canaries),
        }

    def awaited(self) -> int:
        """Canaries of a roll back that have not been heard to run their old release again."""
        return sum(
            one.arm == "canary" and not one.returned and not one.silence for one in self.observations.values()
        )

    def _leave_out(self, token: int) -> None:
        """Forget what two machines with one identity showed: their losses are no device's."""
        gone = sorted(self._doubled & self.observations.keys())
        if not gone:
            return
        self._store.forget_observations(self.rollout.id, gone, token)
        self.observations = {
            name: one for name, one in self.observations.items() if name not in self._doubled
        }
        self._watched -= self._doubled
        settled = [one for one in self.observations.values() if one.order is not None]
        self.tally = Tally(self.rollout.plan, sorted(settled, key=lambda one: one.order or 0))

    def _settle_the_due(self, now: float, changed: dict[str, Observation]) -> None:
        for device in sorted(self._watched):
            self._settle_if_due(self.observations[device], now, changed)

    def _take_in(self) -> None:
        for told in self._store.observations(self.rollout.id, self._taken_until - OVERLAP_S):
            known = self.observations.get(told.device)
            if known is None or (known.order is None and told.counter > known.counter):
                self.observations[told.device] = told
                self._watched.add(told.device)
            self._taken_until = max(self._taken_until, told.taken_at)

    def _hear(self, fleet: Fleet, report: ReportRecord, changed: dict[str, Observation]) -> None:
        if report.device in self._doubled:
            return
        known = self.observations.get(report.device) or self._newcomer(fleet, report)
        if known is None:
            return
        heard = heard_return(hear(known, report), report, self.rollout)
        if heard is not known:
            self.observations[report.device] = changed[report.device] = heard
        self._settle_if_due(heard, report.received_at, changed)

    def _newcomer(self, fleet: Fleet, report: ReportRecord) -> Observation | None:
        """A device that reports under this rollout before its telling was written down."""
        if not self.rollout.opened or report.counter < self.rollout.opened[0].revision:
            return None
        try:
            device = self._store.device(fleet.name, report.device)
        except RolloutError:
            return None
        told = assign(fleet, self.rollout, device.id, device.attributes, device.revision)
        if told.arm is None or told.release is None or report.counter < told.counter:
            return None
        self._watched.add(device.id)
        return Observation(
            device.id, told.arm, told.wave, report.received_at, told.counter, told.release.content_hash
        )

    def _settle_if_due(self, one: Observation, now: float, changed: dict[str, Observation]) -> None:
        if one.order is not None or not is_settled(one, self.rollout.plan, now):
            return
        self._settled += 1
        fixed = settle(one, self.rollout.plan, now, self._settled)
        self.observations[one.device] = changed[one.device] = fixed
        self._watched.discard(one.device)
        self.tally.add(fixed)
