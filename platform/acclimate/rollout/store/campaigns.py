"""Campaigns and who took part in them, in SQL. What devices gave is never among it, only what came of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.domain.campaign import LIVE, Campaign, Contributor
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.access import write_audit
from acclimate.rollout.store.contract import ConflictError, NotFoundError
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.fleets import read_fleet

CAMPAIGNS, CONTRIBUTORS = tables.campaigns, tables.contributors
CAMPAIGN_LOCK = 0x41_43_43_46  # any number of our own: "ACCF"
_KEY = ["fleet", "device", "campaign"]


class CampaignTables:
    """The part of `Store` about campaigns."""

    _database: Database

    def add_campaign(self, campaign: Campaign, actor: str) -> None:
        """Open a campaign. A ConflictError where its fleet has a live one."""
        with self._database.write() as connection:
            self._database.one_after_another(connection, CAMPAIGN_LOCK)
            read_fleet(connection, campaign.fleet)
            live = select(CAMPAIGNS.c.id).where(
                CAMPAIGNS.c.fleet == campaign.fleet, CAMPAIGNS.c.state.in_(LIVE)
            )
            found = connection.scalar(live)
            if found is not None:
                raise ConflictError(f"fleet {campaign.fleet!r} has a live campaign: stop {found} first")
            try:
                connection.execute(CAMPAIGNS.insert().values(rows.plain(campaign)))
            except IntegrityError:
                raise ConflictError(f"campaign {campaign.id!r} exists already: choose another id") from None
            what = f"{campaign.name}@{campaign.version}"
            detail = f"{what} quorum={campaign.quorum} epsilon={campaign.epsilon:.4g}"
            _audit(connection, campaign, campaign.opened_at, actor, "start", detail)

    def campaign(self, campaign_id: str) -> Campaign:
        with self._database.read() as connection:
            return _read(connection, campaign_id)

    def campaigns(self, fleet: str | None = None, live: bool = False, limit: int = 100) -> list[Campaign]:
        """Newest first."""
        columns = [CAMPAIGNS.c[name] for name in rows.names(Campaign)]
        query = select(*columns).order_by(CAMPAIGNS.c.opened_at.desc(), CAMPAIGNS.c.id).limit(limit)
        if fleet is not None:
            query = query.where(CAMPAIGNS.c.fleet == fleet)
        if live:
            query = query.where(CAMPAIGNS.c.state.in_(LIVE))
        with self._database.read() as connection:
            return [Campaign(**row) for row in connection.execute(query).mappings()]

    def step_campaign(
        self,
        campaign_id: str,
        step: Callable[[Campaign], Campaign],
        now: float,
        actor: str,
        action: str,
        detail: str,
        result: bytes | None = None,
    ) -> Campaign:
        """Apply `step` to the campaign as stored, with what came of it if it is done."""
        with self._database.write() as connection:
            self._database.one_after_another(connection, CAMPAIGN_LOCK)
            after = step(_read(connection, campaign_id))
            values = rows.plain(after) | ({} if result is None else {"result": result})
            connection.execute(update(CAMPAIGNS).where(CAMPAIGNS.c.id == campaign_id).values(values))
            _audit(connection, after, now, actor, action, detail)
        return after

    def hold_campaign(self, campaign: Campaign) -> bool:
        """Keep its figures, and that its holder lives; False if it is no longer live, or another's."""
        figures = (
            "held_at",
            "joined",
            "accepted",
            "clipped",
            "norm_median",
            "norm_p90",
            "right_after",
            "tried_after",
        )
        mine = (CAMPAIGNS.c.id == campaign.id) & (CAMPAIGNS.c.holder == campaign.holder)
        with self._database.write() as connection:
            held = update(CAMPAIGNS).where(mine & CAMPAIGNS.c.state.in_(LIVE))
            done = connection.execute(held.values({name: getattr(campaign, name) for name in figures}))
        return done.rowcount == 1

    def campaign_result(self, campaign_id: str) -> bytes | None:
        """What came of all contributions; None unless it is done."""
        with self._database.read() as connection:
            _read(connection, campaign_id)
            value: bytes | None = connection.scalar(
                select(CAMPAIGNS.c.result).where(CAMPAIGNS.c.id == campaign_id)
            )
        return value

    def accept_contribution(self, fleet: str, device: str, campaign: str, now: float) -> None:
        """Note that a device took part; once, however often it is said."""
        insert = self._database.insert(CONTRIBUTORS).values(
            fleet=fleet, device=device, campaign=campaign, accepted_at=now, refusals=0, reason=""
        )
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=_KEY, set_={"accepted_at": now}))

    def refuse_contribution(self, fleet: str, device: str, campaign: str, reason: str) -> int:
        """Count a refusal; the device's in all campaigns so far."""
        insert = self._database.insert(CONTRIBUTORS).values(
            fleet=fleet, device=device, campaign=campaign, refusals=1, reason=reason
        )
        again = {"refusals": CONTRIBUTORS.c.refusals + 1, "reason": reason}
        total = select(func.sum(CONTRIBUTORS.c.refusals)).where(
            CONTRIBUTORS.c.fleet == fleet, CONTRIBUTORS.c.device == device
        )
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=again))
            return int(connection.scalar(total) or 0)

    def contributors(self, fleet: str, campaign: str | None = None) -> Sequence[Contributor]:
        """Who took part or was refused, by device."""
        query = select(CONTRIBUTORS).where(CONTRIBUTORS.c.fleet == fleet)
        if campaign is not None:
            query = query.where(CONTRIBUTORS.c.campaign == campaign)
        with self._database.read(long=True) as connection:
            found = connection.execute(query.order_by(CONTRIBUTORS.c.device, CONTRIBUTORS.c.campaign))
            return [Contributor(**row) for row in found.mappings()]


def _read(connection: Connection, campaign_id: str) -> Campaign:
    columns = [CAMPAIGNS.c[name] for name in rows.names(Campaign)]
    row = connection.execute(select(*columns).where(CAMPAIGNS.c.id == campaign_id)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"there is no campaign {campaign_id!r}: list them with: acclimate campaign status"
        )
    return Campaign(**row)


def _audit(
    connection: Connection, campaign: Campaign, now: float, actor: str, action: str, detail: str
) -> None:
    subject = f"campaign {campaign.id}"
    entry = AuditEntry(now, actor, f"campaign.{action}", subject, detail or campaign.detail, campaign.fleet)
    write_audit(connection, entry)
