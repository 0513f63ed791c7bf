"""The agent's turns in a round whose sum alone the service learns.

The secrets of a round live in this process alone: an agent that restarts has dropped out of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from acclimate_device.agent.identity import Identity
from acclimate_device.agent.service import Service
from acclimate_device.errors import UntrustedError
from acclimate_device.federated.secure import Participant
from acclimate_device.protocol import (
    DEALING_PATH,
    JOINING_PATH,
    UNMASKING_PATH,
    Contribution,
    Round,
)

if TYPE_CHECKING:
    from acclimate_device.protocol import Turn

logger = logging.getLogger(__name__)


class Turns:
    """One round after the other.

    Args:
        peers: raw identities of the devices whose company the owner trusts; None takes the service's word.
    """

    def __init__(self, service: Service, identity: Identity, peers: frozenset[bytes] | None) -> None:
        self._service, self._identity, self._peers = service, identity, peers
        self._round, self._part = "", None  # type: tuple[str, Participant | None]

    def take(self, asked: Round, given: Contribution) -> bool:
        """Take the turn there is; whether this device has no further part in the round.

        Raises:
            TransportError: no success; the same turn can be taken again.
            UntrustedError: what others sent, or the service says of them, does not hold.
        """
        if asked.id != self._round:
            self._round, self._part = asked.id, None
        turn = self._service.turn()
        if turn is None or turn.round != asked.id:
            return self._part is not None  # a paused round asks nobody, and waits for those who joined
        if turn.phase == "join":
            if self._part is None:
                part = self._participant(asked.id)
                self._service.tell(JOINING_PATH, part.member)
                self._part = part
            return False
        if self._part is None:
            raise UntrustedError(f"round {asked.id} goes on without this device, which did not join it")
        return self._answer(asked, given, turn, self._part)

    def _answer(self, asked: Round, given: Contribution, turn: Turn, part: Participant) -> bool:
        if turn.phase == "deal":
            self._service.tell(DEALING_PATH, part.deal(turn.members, asked.quorum))
        elif turn.phase == "mask":
            values, noise = np.frombuffer(given.raw, "<i4"), asked.noise * asked.clip * 2.0**asked.bits
            self._service.contribute(Contribution.of(asked.id, part.masked(values, turn.sealed, noise)))
        elif turn.phase == "unmask":
            self._service.tell(UNMASKING_PATH, part.unmask(turn.survivors))
        logger.info("event=turn campaign=%s phase=%s", asked.id, turn.phase)
        return turn.phase == "unmask"

    def _participant(self, round_id: str) -> Participant:
        key, enrolled = self._identity.key(), self._service.enrolled()
        return Participant(round_id, enrolled.device_id, key.public.raw, key.sign, known=self._peers)
