"""The agent's half of a campaign: ask what is wanted, hand it to the application, send what it answers.

Without the owner's consent nothing is asked, made or sent, and what waits is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from acclimate_device.agent.identity import Identity
from acclimate_device.agent.service import Service
from acclimate_device.errors import TransportError, UntrustedError
from acclimate_device.protocol import LIMITS, Contribution, Round, dumps, loads
from acclimate_device.storage import CONTRIBUTED, CONTRIBUTION, ROUND, Store

if TYPE_CHECKING:
    from acclimate_device.agent.turns import Turns

logger = logging.getLogger(__name__)

_SETTLED = (400, 403, 409, 413, 422)
"""Statuses after which the same contribution is never taken."""
_RECORD_BYTES = 1_000_000


class Contributor:
    """Keeps the records `round` and `contribution`.

    Args:
        identity: of the device, with whose key it vouches for its part in a round that hides contributions.
        consent: whether the owner agreed.
        peers: see `turns.Turns`.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: Store,
        service: Service,
        identity: Identity,
        consent: bool,
        peers: frozenset[bytes] | None,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._service, self._consent, self._clock = store, service, consent, clock
        self._identity, self._peers = identity, peers
        self._turns: Turns | None = None

    def work(self) -> None:
        """Send what waits, then ask what is wanted.

        Raises:
            TransportError: the service cannot be reached; nothing is lost.
            UntrustedError: what is asked for is not for this device, or not signed.
            StorageError: the flash refuses.
        """
        if not self._consent:
            self._forget(ROUND)  # consent was revoked, or never given
            self._forget(CONTRIBUTION)
            return
        self._send()
        asked = self._service.round()
        if asked is None or asked.id == (self._store.read(CONTRIBUTED) or b"").decode():
            self._forget(ROUND)
            return
        if asked.fleet != self._service.enrolled().fleet:
            raise UntrustedError(f"the round {asked.id} is for fleet {asked.fleet}, not for this device")
        if asked.closes_at > self._clock():
            self._leave(asked)

    def _leave(self, asked: Round) -> None:
        record = dumps(asked)
        if self._store.read(ROUND) != record:
            self._store.write(ROUND, record)
            logger.info("event=asked campaign=%s epsilon=%g", asked.id, asked.epsilon)

    def _send(self) -> None:
        waiting = self._store.read(CONTRIBUTION)
        if waiting is None:
            return
        given, asked = loads(Contribution, waiting, _RECORD_BYTES), self._asked()
        if asked is None or asked.id != given.round:
            self._forget(CONTRIBUTION)  # of a round that is over, and may have promised to hide it
            return
        try:
            if not asked.hides:
                self._service.contribute(given)
            elif not self._their_turns().take(asked, given):
                return
            logger.info("event=contributed campaign=%s", given.round)
        except TransportError as error:
            if error.status not in _SETTLED:
                raise
            logger.warning("event=contribution_refused campaign=%s error=%s", given.round, error)
        except UntrustedError as error:
            logger.warning("event=contribution_withheld campaign=%s error=%s", given.round, error)
        self._store.write(CONTRIBUTED, given.round.encode())
        self._forget(CONTRIBUTION)
        self._forget(ROUND)

    def _asked(self) -> Round | None:
        raw = self._store.read(ROUND)
        return None if raw is None else loads(Round, raw, LIMITS.envelope_bytes)

    def _their_turns(self) -> Turns:
        from acclimate_device.agent.turns import Turns  # needs numpy, which an agent alone does not

        self._turns = self._turns or Turns(self._service, self._identity, self._peers)
        return self._turns

    def _forget(self, name: str) -> None:
        if self._store.read(name) is not None:
            self._store.delete(name)
