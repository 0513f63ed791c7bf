"""A round that hides contributions over time: turns, groups, and a group that loses too many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate.errors import RolloutError
from acclimate.rollout.domain import secure_round
from acclimate.rollout.domain.campaign import Campaign
from acclimate.rollout.domain.secure_round import SecureRound
from acclimate.secure_sum import SumLostError
from acclimate_device.federated import secure
from acclimate_device.federated.secure import Participant
from acclimate_device.protocol import LIMITS

NOW, MINUTE = 1e9, 60.0
CAMPAIGN = Campaign(
    id="campaign-1",
    fleet="home",
    name="model",
    version=1,
    content_hash="0" * 64,
    features=4,
    outputs=2,
    opened_at=NOW,
    closes_at=NOW + 100 * MINUTE,
    created_by="ada",
    holder="one",
    held_at=NOW,
    aggregator="mean",
    quorum=6,
    secure=True,
)


class Devices:
    """Ten devices and their round, in groups of four at the most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (secure_round, secure):
            monkeypatch.setattr(module, "LIMITS", replace(LIMITS, group_devices=4))
        self.round = SecureRound(CAMPAIGN, shuffle=lambda members: None)
        self.parts: dict[str, Participant] = {}
        for number in range(10):
            key, name = Ed25519PrivateKey.generate(), f"d-{number}"
            part = Participant("campaign-1", name, key.public_key().public_bytes_raw(), key.sign)
            self.parts[name] = part
            self.round.join(name, part.member.identity, part.member)

    def values(self, name: str) -> np.ndarray:
        return np.full(CAMPAIGN.numbers, 10 ** int(name[2:]), np.int64).astype(np.int32)

    def answer(self, *silent: str) -> None:
        for name, part in self.parts.items():
            turn = self.round.turn(name)
            if turn is None or name in silent:
                continue
            if turn.phase == "deal":
                self.round.deal(name, part.deal(turn.members, CAMPAIGN.quorum))
            elif turn.phase == "mask":
                self.round.mask(name, np.frombuffer(part.masked(self.values(name), turn.sealed), "<u4"))
            elif turn.phase == "unmask":
                self.round.unmask(name, part.unmask(turn.survivors))

    def at(self, minutes: float) -> str:
        self.round.step(NOW + minutes * MINUTE)
        return self.round.phase


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices:
    return Devices(monkeypatch)


def test_turns_end_when_everybody_answered_or_their_time_is_over(devices: Devices) -> None:
    assert devices.round.ends_at == devices.round.turn("d-0").until == NOW + 40 * MINUTE
    at_once = replace(CAMPAIGN, opened_at=60.0, closes_at=660.0)
    assert SecureRound(at_once, shuffle=lambda members: None).ends_at == 60.0 + 0.4 * 600.0
    assert devices.at(39) == "join"
    assert devices.at(40) == "deal"
    assert {len(devices.round.turn(name).members) for name in devices.parts} == {3, 4}
    devices.answer()
    assert devices.round.turn("d-0").phase == "wait"
    assert devices.at(41) == "mask"
    devices.answer("d-9")  # its group is d-0, d-3, d-6 and d-9
    assert devices.at(79) == "mask"
    assert devices.at(80) == "unmask"
    assert devices.round.turn("d-9") is None
    devices.answer()
    assert devices.at(81) == "over"
    assert [devices.round.add_next() for _ in range(4)] == [True, True, True, False]
    came = devices.round.result()
    assert came.total[0] == 111_111_111
    assert len(came.devices) == devices.round.contributed == 9
    with pytest.raises(RolloutError, match="in its phase over"):
        devices.round.unmask("d-0", None)


def test_a_group_that_loses_too_many_is_lost_alone(devices: Devices) -> None:
    devices.at(40)
    devices.answer()
    devices.at(41)
    devices.answer("d-1")  # of d-1, d-4 and d-7 all must stay
    devices.at(80)
    assert devices.round.turn("d-4") is None
    devices.answer()
    devices.at(81)
    while devices.round.add_next():
        pass
    came = devices.round.result()
    assert came.devices == {"d-0", "d-2", "d-3", "d-5", "d-6", "d-8", "d-9"}
    assert came.lost == ("2 of 3 devices stayed",)


def test_below_the_quorum_nothing_is_learnt(devices: Devices) -> None:
    devices.at(40)
    devices.answer()
    devices.at(41)
    devices.answer("d-1", "d-2")
    with pytest.raises(SumLostError, match=r"4 of 6 devices stayed \(2 of 3 devices stayed; 2 of 3"):
        devices.at(80)
    few = SecureRound(CAMPAIGN, shuffle=lambda members: None)
    with pytest.raises(SumLostError, match="0 of 6 devices joined"):
        few.step(NOW + 40 * MINUTE)


def test_a_group_that_does_not_unmask_is_lost_at_the_end(devices: Devices) -> None:
    devices.at(40)
    devices.answer()
    devices.at(41)
    devices.answer()
    devices.at(42)
    devices.answer("d-1")
    assert devices.at(99) == "unmask"
    assert devices.at(100) == "over"
    while devices.round.add_next():
        pass
    assert devices.round.result().lost == ("2 of 3 devices unmasked",)
