"""Campaigns under way: what devices gave is held here, in memory alone, until the round closes.

One replica holds a campaign's contributions and says in the store that it lives; others send devices to it by
asking them to come again. A campaign whose holder is silent is void: what it held is gone, and nothing of it
was used. Contributions never reach the store, a log or a file.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from acclimate.errors import RolloutError
from acclimate.privacy import epsilon_of_all
from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.domain.campaign import FLAGGED_FROM, LIVE, Campaign, State, noises_of
from acclimate.rollout.domain.contributions import (
    AT_CLIP,
    Gauss,
    Integers,
    check_runs,
    checked,
    combined,
    mean_of,
)
from acclimate.rollout.domain.secure_round import SecureRound
from acclimate.rollout.store import Store
from acclimate.secure_sum import SumLostError
from acclimate_device.errors import ProtocolError, UntrustedError
from acclimate_device.federated.secure import gauss_of_the_system
from acclimate_device.protocol import Contribution, Release, Turn

SILENT_S = 30.0
"""A holder that said nothing for so long is gone."""
MOST_BYTES = 512 * 1024 * 1024
"""Of contributions of all campaigns together."""


@dataclass
class _Held:
    """One campaign's contributions by device, and how long each is; or the round that hides them.

    Attributes:
        recorded: devices of which the store knows that they contributed, and so what they spend.
    """

    values: dict[str, Integers] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    right: int = 0
    tried: int = 0
    secure: SecureRound | None = None
    recorded: set[str] = field(default_factory=set)


class RoundDesk:
    """Opens, fills and closes rounds.

    Args:
        holder: this process, by a name of its own.
        clock: Unix seconds.
        cap: epsilon that a device spends at most over all campaigns; 0 for none.
        gauss: normal noise `(count,)` of deviation 1; from the operating system's randomness by default.
    """

    def __init__(
        self,
        store: Store,
        holder: str,
        clock: Callable[[], float],
        metrics: ServiceMetrics,
        cap: float,
        gauss: Gauss = gauss_of_the_system,
    ) -> None:
        self.holder, self.clock, self.cap = holder, clock, cap
        self._store, self._metrics, self._gauss = store, metrics, gauss
        self._live: dict[str, Campaign] = {}  # by fleet
        self._held: dict[str, _Held] = {}
        self._flagged: set[tuple[str, str]] = set()
        self._noises: dict[tuple[str, str], list[float]] = {}  # of the campaigns that a device was part of
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """Follow the store: close what is due, drop what ended, say that this holder lives."""
        async with self._turn:
            await self._refresh()

    async def _refresh(self) -> None:
        now = self.clock()
        live = await in_thread(self._store.campaigns, None, True, 10_000)
        for campaign in live:
            if campaign.holder != self.holder:
                if now > campaign.held_at + SILENT_S:
                    await self._end(campaign, "void", "the process that held the contributions is gone")
            elif await self._secure_end(campaign, now):
                continue
            elif campaign.closes_at <= now:
                await self._close(campaign)
            elif not await in_thread(self._store.hold_campaign, self._seen(campaign)):
                self._held.pop(campaign.id, None)
        found = await in_thread(self._store.campaigns, None, True, 10_000)
        for campaign in found:
            before = self._live.get(campaign.fleet)
            if before is None or before.id != campaign.id:
                await self._know_devices(campaign.fleet)
        self._live = {one.fleet: one for one in found}
        ids = {one.id for one in self._live.values()}
        self._held = {name: held for name, held in self._held.items() if name in ids}

    def asked(self, fleet: str, device: str, runs: Release | None) -> Campaign | None:
        """What a device is asked for now."""
        campaign = self._live.get(fleet)
        if campaign is None or campaign.closes_at <= self.clock():
            return None
        if campaign.release != runs or (fleet, device) in self._flagged or self._spent(campaign, device):
            return None
        if campaign.secure and campaign.holder == self.holder:
            return campaign if self._turn_of(campaign, device) else None
        if campaign.state != "open" or device in self._of(campaign).values:
            return None
        return campaign

    def turn(self, fleet: str, device: str, runs: Release | None) -> Turn | None:
        """What a round that hides contributions wants of a device now.

        Raises:
            ProblemError: 503 another process holds the campaign.
        """
        campaign = self.asked(fleet, device, runs)
        if campaign is None or not campaign.secure:
            return None
        self._held_here(campaign)
        return self._turn_of(campaign, device)

    async def take(self, fleet: str, device: str, given: Contribution, runs: Release | None) -> None:
        """Add a device's contribution; the same device's counts once, whatever it sends again.

        Raises:
            ProblemError: 409 nothing is asked for, or something else; 422 not what is asked for; 403 of a
                device that sent that too often; 503 another process holds the campaign.
        """
        campaign = await self._admitted(fleet, device, given.round)
        held = self._of(campaign)
        if device in held.values:
            await self._record(campaign, [device])  # the store may have failed when it came
            return
        if sum(one.nbytes for each in self._held.values() for one in each.values.values()) > MOST_BYTES:
            raise ProblemError(503, "unavailable", "no more fit into memory", {"Retry-After": "60"})

        def keep() -> None:
            check_runs(campaign, runs)
            if held.secure:
                held.secure.mask(device, np.frombuffer(given.raw, "<u4"))
            else:
                held.values[device], held.norms[device] = checked(campaign, given)
                held.right += given.right
                held.tried += given.tried

        await self._done(campaign, device, keep)
        await self._record(campaign, [device])

    async def answer(
        self, fleet: str, device: str, round_id: str, runs: Release | None, act: Callable[[SecureRound], None]
    ) -> None:
        """Let a device take its turn in a round that hides contributions.

        Args:
            act: hands in what the device sent.

        Raises:
            ProblemError: as `take`.
        """
        campaign = await self._admitted(fleet, device, round_id)

        def taken() -> None:
            check_runs(campaign, runs)
            secure = self._of(campaign).secure
            if secure is None or (secure.phase == "join" and campaign.state != "open"):
                raise RolloutError(f"campaign {campaign.id} takes no turns now")
            act(secure)

        await self._done(campaign, device, taken)

    async def _record(self, campaign: Campaign, devices: Iterable[str]) -> None:
        """Have the store know that they contributed: no result may come of whose privacy is not accounted."""
        held = self._of(campaign)
        for device in sorted({*devices} - held.recorded):
            at = (campaign.fleet, device, campaign.id, self.clock())
            await in_thread(self._store.accept_contribution, *at)
            held.recorded.add(device)
            self._metrics.contributions.labels(campaign.fleet, "accepted").inc()

    async def _admitted(self, fleet: str, device: str, round_id: str) -> Campaign:
        """The campaign that a device gives something to, if it may."""
        campaign = self._live.get(fleet)
        if (fleet, device) in self._flagged:
            self._metrics.contributions.labels(fleet, "flagged").inc()
            detail = f"device {device} sent {FLAGGED_FROM} contributions that were refused: none is taken"
            raise ProblemError(403, "contribution-refused", detail)
        if campaign is None or campaign.id != round_id or campaign.closes_at <= self.clock():
            await self._unasked(fleet, device, round_id)
        assert campaign is not None
        if self._spent(campaign, device):
            detail = f"device {device} would spend more than epsilon {self.cap:g} over all campaigns"
            raise ProblemError(409, "round-over", detail)
        self._held_here(campaign)
        return campaign

    def _spent(self, campaign: Campaign, device: str) -> bool:
        """Whether this campaign would take a device above the cap."""
        if not self.cap:
            return False
        noises = [*self._noises.get((campaign.fleet, device), ()), campaign.noise]
        return epsilon_of_all(noises, campaign.delta) > self.cap

    def _held_here(self, campaign: Campaign) -> None:
        if campaign.holder != self.holder:
            detail = "another replica holds this campaign: send it again"
            raise ProblemError(503, "unavailable", detail, {"Retry-After": "5"})

    async def _done(self, campaign: Campaign, device: str, act: Callable[[], None]) -> None:
        """Do it; what is wrong counts against the device, what comes at a wrong time does not."""
        try:
            act()
        except RolloutError as error:
            self._metrics.contributions.labels(campaign.fleet, "late").inc()
            raise ProblemError(409, "round-over", str(error)) from None
        except (ProtocolError, UntrustedError) as error:
            await self._refuse(campaign.fleet, device, campaign.id, str(error))
            raise ProblemError(422, "contribution-refused", str(error)) from None

    def _turn_of(self, campaign: Campaign, device: str) -> Turn | None:
        secure = self._of(campaign).secure
        if secure is None or (secure.phase == "join" and campaign.state != "open"):
            return None
        return secure.turn(device)

    async def _know_devices(self, fleet: str) -> None:
        """Which devices this or another process found lying before, and what each has spent."""
        campaigns = await in_thread(self._store.campaigns, fleet, False, 10_000)
        found = await in_thread(self._store.contributors, fleet)
        for device, noises in noises_of(campaigns, found).items():
            self._noises[fleet, device] = noises
        refusals: dict[str, int] = {}
        for one in found:
            refusals[one.device] = refusals.get(one.device, 0) + one.refusals
        self._flagged |= {(fleet, device) for device, number in refusals.items() if number >= FLAGGED_FROM}

    async def _unasked(self, fleet: str, device: str, campaign: str) -> None:
        """Late is no fault of a device's; what nobody ever asked its fleet for is."""
        known = {one.id for one in await in_thread(self._store.campaigns, fleet, False, 1000)}
        if campaign in known:
            self._metrics.contributions.labels(fleet, "late").inc()
            raise ProblemError(409, "round-over", f"campaign {campaign} is over")
        await self._refuse(fleet, device, "", "unsolicited")
        raise ProblemError(409, "round-over", f"no campaign {campaign} asked for this")

    async def _refuse(self, fleet: str, device: str, campaign: str, reason: str) -> None:
        self._metrics.contributions.labels(fleet, "refused").inc()
        refusals = await in_thread(self._store.refuse_contribution, fleet, device, campaign, reason[:256])
        if refusals >= FLAGGED_FROM:
            self._flagged.add((fleet, device))

    async def _close(self, campaign: Campaign) -> None:
        held = self._of(campaign)
        if len(held.values) < campaign.quorum:
            why = f"{len(held.values)} of {campaign.quorum} devices contributed until it closed"
            await self._end(campaign, "void", why)
            return
        await self._record(campaign, held.values)
        result = await in_thread(combined, campaign, list(held.values.values()), self._gauss)
        why = f"{len(held.values)} devices contributed"
        await self._end(campaign, "done", why, result.astype("<f8").tobytes())

    async def _secure_end(self, campaign: Campaign, now: float) -> bool:
        """Bring a round that hides contributions on; whether that ended the campaign."""
        secure = self._of(campaign).secure
        if secure is None:
            return False
        try:
            secure.step(now)
            if secure.phase != "over":
                return False
            while await in_thread(secure.add_next):
                await in_thread(self._store.hold_campaign, self._seen(campaign))  # it lives, and computes
            came = secure.result()
        except SumLostError as error:
            await self._end(campaign, "void", str(error))
            return True
        await self._record(campaign, came.devices)
        mean = mean_of(campaign, came.total, len(came.devices))
        why = "; ".join((f"{len(came.devices)} of {secure.joined} devices contributed", *came.lost))
        await self._end(campaign, "done", why, mean.astype("<f8").tobytes())
        return True

    async def _end(self, campaign: Campaign, state: State, detail: str, result: bytes | None = None) -> None:
        seen = self._seen(campaign)

        def step(stored: Campaign) -> Campaign:
            if stored.state not in LIVE:
                return stored
            figures = seen if stored.holder == self.holder else stored
            return replace(figures, state=state, detail=detail)

        now = self.clock()
        await in_thread(self._store.step_campaign, campaign.id, step, now, "service", state, detail, result)
        self._held.pop(campaign.id, None)

    def _seen(self, campaign: Campaign) -> Campaign:
        """With the figures of what is held now."""
        held, now = self._of(campaign), self.clock()
        norms = sorted(held.norms.values())
        if held.secure:
            joined, accepted = held.secure.joined, held.secure.contributed
            return replace(campaign, held_at=now, joined=joined, accepted=accepted)
        if not norms:
            return replace(campaign, held_at=now)
        return replace(
            campaign,
            held_at=now,
            accepted=len(norms),
            clipped=sum(norm >= campaign.clip * (1 - AT_CLIP) for norm in norms),
            norm_median=statistics.median(norms),
            norm_p90=norms[min(len(norms) - 1, 9 * len(norms) // 10)],
            right_after=held.right,
            tried_after=held.tried,
        )

    def _of(self, campaign: Campaign) -> _Held:
        if campaign.id not in self._held:
            hides = campaign.secure and campaign.holder == self.holder
            secure = SecureRound(campaign, secrets.SystemRandom().shuffle) if hides else None
            self._held[campaign.id] = _Held(secure=secure)
        return self._held[campaign.id]
