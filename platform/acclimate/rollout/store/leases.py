"""Leadership in SQL: one holder at a time, and a token that fences off all earlier ones.

A leader that stalled past its lease may still believe that it leads. Each of its writes names its token and
is refused, in the same transaction, once a newer one was given out.

Wall clocks are set back, and differ between machines: a lease from a clock that was ahead would outlive its
holder by as much. So a lease that nobody renewed while this process watched it for its term has ended too.
"""

from __future__ import annotations

import math
from time import monotonic

from sqlalchemy import ColumnElement, Connection, and_, case, false, or_, select

from acclimate.rollout.store import tables
from acclimate.rollout.store.contract import Lease, LeaseLostError
from acclimate.rollout.store.database import Database

LEASES = tables.leases
CONTROLLER = "controller"


class LeaseTable:
    """The part of `Store` about leadership."""

    _database: Database
    _watched: dict[str, tuple[float, float]]
    """By lease: when it ends, and the monotonic clock when this process first saw that."""

    def acquire_lease(self, name: str, holder: str, now: float, ttl_s: float) -> Lease | None:
        """Lead, go on leading, or None while another holder's lease lasts."""
        ours = self._database.insert(LEASES).values(name=name, holder=holder, token=1, expires_at=now + ttl_s)
        later = {
            "holder": holder,
            "expires_at": now + ttl_s,
            "token": case((_held(holder, now), LEASES.c.token), else_=LEASES.c.token + 1),
        }
        end, seen_at = self._watched.get(name, (0.0, math.inf))
        left = LEASES.c.expires_at == end if monotonic() - seen_at >= ttl_s else false()
        free = or_(LEASES.c.holder == holder, LEASES.c.expires_at <= now, left)
        take = ours.on_conflict_do_update(index_elements=["name"], set_=later, where=free)
        with self._database.write() as connection:
            token = connection.scalar(take.returning(LEASES.c.token))
            if token is None:
                held_until = connection.scalar(select(LEASES.c.expires_at).where(LEASES.c.name == name))
                if held_until is not None and held_until != end:
                    self._watched[name] = held_until, monotonic()
                return None
        return Lease(name, holder, token, now + ttl_s)

    def release_lease(self, lease: Lease) -> None:
        """Let the next one lead at once."""
        with self._database.write() as connection:
            mine = (LEASES.c.name == lease.name) & (LEASES.c.token == lease.token)
            connection.execute(LEASES.update().where(mine).values(expires_at=0.0))


def _held(holder: str, now: float) -> ColumnElement[bool]:
    """It is the holder's still; after a lapse even the same holder gets a new token."""
    return and_(LEASES.c.holder == holder, LEASES.c.expires_at > now)


def guard(connection: Connection, token: int) -> None:
    """Refuse the transaction unless `token` is the latest controller's; holds until it ends."""
    query = select(LEASES.c.token).where(LEASES.c.name == CONTROLLER).with_for_update(read=True)
    latest = connection.scalar(query)
    if latest != token:
        raise LeaseLostError(f"fencing token {token} is not the latest ({latest}): another controller leads")
