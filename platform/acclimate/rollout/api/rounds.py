"""Campaigns under way: what devices gave is held here, in memory alone, until the round closes.

One replica holds a campaign's contributions and says in the store that it lives; others send devices to it by
asking them to come again. A campaign whose holder is silent is void: what it held is gone, and nothing of it
was used. Contributions never reach the store, a log or a file.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from acclimate.aggregation import AGGREGATORS
from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.domain.campaign import FLAGGED_FROM, LIVE, Campaign, State
from acclimate.rollout.store import Store
from acclimate_device.errors import ProtocolError
from acclimate_device.federated import FixedPoint
from acclimate_device.protocol import Contribution, Release

SILENT_S = 30.0
"""A holder that said nothing for so long is gone."""
MOST_BYTES = 512 * 1024 * 1024
"""Of contributions of all campaigns together."""
_AT_CLIP = 1e-6  # a vector that was shortened has the clip's length, to rounding
LIARS = 0.2
"""Share of devices that trimmed-mean and multi-krum withstand."""

Integers = NDArray[np.int32]


@dataclass
class _Held:
    """One campaign's contributions by device, and how long each is."""

    values: dict[str, Integers] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)


class RoundDesk:
    """Opens, fills and closes rounds.

    Args:
        holder: this process, by a name of its own.
        clock: Unix seconds.
        gauss: normal noise `(count,)` of deviation 1; from the operating system's randomness by default.
    """

    def __init__(
        self,
        store: Store,
        holder: str,
        clock: Callable[[], float],
        metrics: ServiceMetrics,
        gauss: Callable[[int], NDArray[np.float64]] | None = None,
    ) -> None:
        self.holder, self.clock = holder, clock
        self._store, self._metrics, self._gauss = store, metrics, gauss or _gauss
        self._live: dict[str, Campaign] = {}  # by fleet
        self._held: dict[str, _Held] = {}
        self._flagged: set[tuple[str, str]] = set()
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
            elif campaign.closes_at <= now:
                await self._close(campaign)
            elif not await in_thread(self._store.hold_campaign, self._seen(campaign)):
                self._held.pop(campaign.id, None)
        found = await in_thread(self._store.campaigns, None, True, 10_000)
        for campaign in found:
            if campaign.fleet not in self._live:
                await self._know_flagged(campaign.fleet)
        self._live = {one.fleet: one for one in found}
        ids = {one.id for one in self._live.values()}
        self._held = {name: held for name, held in self._held.items() if name in ids}

    def asked(self, fleet: str, device: str, runs: Release | None) -> Campaign | None:
        """What a device is asked for now."""
        campaign = self._live.get(fleet)
        if campaign is None or campaign.state != "open" or campaign.closes_at <= self.clock():
            return None
        if campaign.release != runs or (fleet, device) in self._flagged:
            return None
        return None if device in self._of(campaign).values else campaign

    async def take(self, fleet: str, device: str, given: Contribution, runs: Release | None) -> None:
        """Add a device's contribution; the same device's counts once, whatever it sends again.

        Raises:
            ProblemError: 409 nothing is asked for, or something else; 422 not what is asked for; 403 of a
                device that sent that too often; 503 another process holds the campaign.
        """
        campaign = self._live.get(fleet)
        if (fleet, device) in self._flagged:
            self._metrics.contributions.labels(fleet, "flagged").inc()
            detail = f"device {device} sent {FLAGGED_FROM} contributions that were refused: none is taken"
            raise ProblemError(403, "contribution-refused", detail)
        if campaign is None or campaign.id != given.round or campaign.closes_at <= self.clock():
            await self._unasked(fleet, device, given.round)
        assert campaign is not None
        if campaign.holder != self.holder:
            detail = "another replica holds this campaign: send it again"
            raise ProblemError(503, "unavailable", detail, {"Retry-After": "5"})
        held = self._of(campaign)
        if device in held.values:
            return
        try:
            values, norm = _checked(campaign, given, runs)
        except ProtocolError as error:
            await self._refuse(fleet, device, campaign.id, str(error))
            raise ProblemError(422, "contribution-refused", str(error)) from None
        if sum(one.nbytes for each in self._held.values() for one in each.values.values()) > MOST_BYTES:
            raise ProblemError(503, "unavailable", "no more fit into memory", {"Retry-After": "60"})
        held.values[device], held.norms[device] = values, norm
        await in_thread(self._store.accept_contribution, fleet, device, campaign.id, self.clock())
        self._metrics.contributions.labels(fleet, "accepted").inc()

    async def _know_flagged(self, fleet: str) -> None:
        """Which devices this or another process found lying before."""
        refusals: dict[str, int] = {}
        for one in await in_thread(self._store.contributors, fleet):
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
        result = await in_thread(combined, campaign, list(held.values.values()), self._gauss)
        why = f"{len(held.values)} devices contributed"
        await self._end(campaign, "done", why, result.astype("<f8").tobytes())

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
        norms = sorted(self._of(campaign).norms.values())
        now = self.clock()
        if not norms:
            return replace(campaign, held_at=now)
        return replace(
            campaign,
            held_at=now,
            accepted=len(norms),
            clipped=sum(norm >= campaign.clip * (1 - _AT_CLIP) for norm in norms),
            norm_median=statistics.median(norms),
            norm_p90=norms[min(len(norms) - 1, 9 * len(norms) // 10)],
        )

    def _of(self, campaign: Campaign) -> _Held:
        return self._held.setdefault(campaign.id, _Held())


def combined(
    campaign: Campaign, values: list[Integers], gauss: Callable[[int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """One vector of all contributions, with the campaign's noise."""
    grid = FixedPoint(campaign.bits)
    if campaign.aggregator != "mean":
        return AGGREGATORS[campaign.aggregator](np.stack([grid.restored(one) for one in values]), LIARS)
    total = np.zeros(campaign.numbers, np.int64)
    for one in values:
        total += one
    # The denominator is the quorum where there is noise: the number of devices would tell of one.
    count = campaign.quorum if campaign.noise else len(values)
    mean = grid.restored(total) / count
    return mean + gauss(len(mean)) * (campaign.noise * campaign.clip / count) if campaign.noise else mean


def _checked(campaign: Campaign, given: Contribution, runs: Release | None) -> tuple[Integers, float]:
    """The integers and their length.

    Raises:
        ProtocolError: they are not what the campaign asks for.
    """
    if runs != campaign.release:
        raise ProtocolError(f"the round is for {campaign.release.path}, which this device does not run")
    values = np.frombuffer(given.raw, "<i4").astype(np.int32)
    if len(values) != campaign.numbers:
        raise ProtocolError(f"{len(values)} numbers, and the round asks for {campaign.numbers}")
    norm = float(np.linalg.norm(FixedPoint(campaign.bits).restored(values)))
    rounding = 2.0 ** (-campaign.bits - 1) * len(values) ** 0.5
    if norm > campaign.clip * (1 + _AT_CLIP) + rounding:
        raise ProtocolError(f"length {norm:.4g} is above the clip of {campaign.clip:g}")
    return values, norm


def _gauss(count: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.PCG64(secrets.randbits(256))).normal(size=count)
