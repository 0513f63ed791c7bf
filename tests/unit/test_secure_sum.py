"""Sums that hide what each device gives: exact, alive with a third gone, and nothing more is ever learnt."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.secure_sum import SecureSum, SumLostError
from acclimate_device.errors import ProtocolError, UntrustedError
from acclimate_device.federated import masks, shamir
from acclimate_device.federated.secure import Participant, check_member, threshold
from acclimate_device.protocol import (
    Dealing,
    Joining,
    Member,
    Unmasking,
    dumps,
    payload_type,
    signed_bytes,
)

NUMBERS = 400
ROUND = "campaign-1"


class Group:
    """Devices, the service, and everything the service was ever told."""

    def __init__(self, devices: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.parts = {f"d-{number}": participant(f"d-{number}") for number in range(devices)}
        self.values = {name: rng.integers(-(2**24), 2**24, NUMBERS).astype(np.int32) for name in self.parts}
        self.members = [part.member for part in self.parts.values()]
        self.service = SecureSum(ROUND, self.members, NUMBERS)
        self.masked: dict[str, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        return list(self.parts)

    def deal(self, names: list[str]) -> None:
        for name in names:
            self.service.deal(name, self.parts[name].deal(self.members, 3))

    def mask(self, names: list[str], noise: float = 0.0) -> None:
        for name in names:
            sent = self.parts[name].masked(self.values[name], self.service.sealed_for(name), noise)
            self.masked[name] = np.frombuffer(sent, "<u4")
            self.service.mask(name, self.masked[name])

    def unmask(self, names: list[str]) -> None:
        for name in names:
            self.service.unmask(name, self.parts[name].unmask(sorted(self.service.survivors)))

    def expected(self, names: list[str]) -> np.ndarray:
        return np.sum([self.values[name].astype(np.int64) for name in names], axis=0)


def participant(name: str, known: frozenset[bytes] | None = None) -> Participant:
    key = Ed25519PrivateKey.generate()
    return Participant(ROUND, name, key.public_key().public_bytes_raw(), key.sign, known=known)


def identity(member: Member) -> bytes:
    return masks.raw(member.identity)


@pytest.mark.parametrize(
    ("devices", "silent", "vanished", "mute"),
    [(3, 0, 0, 0), (10, 3, 0, 0), (10, 0, 3, 0), (10, 0, 0, 3), (20, 2, 2, 2), (7, 0, 1, 1)],
)
def test_the_sum_is_exact_whoever_drops_out_and_when(
    devices: int, silent: int, vanished: int, mute: int
) -> None:
    """Silent ones deal no shares, the vanished give nothing after that, mute ones do not unmask."""
    group = Group(devices)
    dealing = group.names[silent:]
    giving = dealing[vanished:]
    group.deal(dealing)
    group.mask(giving)
    group.unmask(giving[mute:])
    np.testing.assert_array_equal(group.service.total(), group.expected(giving))


def test_too_few_learn_nothing() -> None:
    group = Group(9)
    group.deal(group.names)
    group.mask(group.names)
    group.unmask(group.names[: group.service.enough - 1])
    with pytest.raises(SumLostError, match="6 of 7 devices unmasked"):
        group.service.total()
    few = Group(9)
    few.deal(few.names[:6])
    with pytest.raises(UntrustedError, match="6 of the group dealt, 7 must"):
        few.mask(few.names[:1])
    late = Group(9)
    late.deal(late.names)
    late.mask(late.names[:6])
    with pytest.raises(UntrustedError, match="6 survive, of which 7 must"):
        late.unmask(late.names[:1])


def test_a_device_answers_one_list_of_survivors() -> None:
    """Two lists would show both secrets of whoever is in one of them."""
    group = Group(10)
    group.deal(group.names)
    group.mask(group.names)
    part = group.parts["d-0"]
    first = part.unmask(group.names[:9])
    assert set(first.self_masks) & set(first.keys) == set()
    assert set(first.keys) == {"d-9"}
    assert part.unmask(group.names[:9]) == first
    for other in (group.names, group.names[:8]):
        with pytest.raises(UntrustedError, match="a second list"):
            part.unmask(other)
    for wrong in ([*group.names[:9], "d-77"], group.names[1:]):
        with pytest.raises(UntrustedError):
            group.parts["d-1" if "d-77" in wrong else "d-0"].unmask(wrong)


def test_a_tampered_share_is_refused() -> None:
    group = Group(5)
    group.deal(group.names)
    sealed = group.service.sealed_for("d-0")
    swapped = sealed | {"d-1": sealed["d-2"]}
    with pytest.raises(UntrustedError, match="shares of d-1 are not what it dealt"):
        group.parts["d-0"].masked(group.values["d-0"], swapped)
    group.mask(group.names[:4])
    good = group.parts["d-1"].unmask(group.names[:4])
    share = next(iter(good.self_masks.values()))
    false = f"{(int(share, 16) + 1) % shamir.PRIME:066x}"
    for wrong, match in (
        (replace(good, self_masks=good.self_masks | {"d-0": false}), "share of d-0 is not the one it dealt"),
        (replace(good, keys=good.keys | {"d-4": false}), "share of d-4 is not"),
        (replace(good, keys={}), "others than survived"),
        (replace(good, keys=good.self_masks), "others than survived"),
    ):
        with pytest.raises(ProtocolError, match=match):
            group.service.unmask("d-1", wrong)
    with pytest.raises(ProtocolError, match="gave no contribution"):
        group.service.unmask("d-4", good)
    group.unmask(group.names[:4])
    np.testing.assert_array_equal(group.service.total(), group.expected(group.names[:4]))


@pytest.mark.parametrize("stays", [True, False])
def test_who_deals_false_shares_is_named_and_spoils_the_sum_alone(stays: bool) -> None:
    group = Group(5)
    liar = group.parts["d-0"]
    if stays:
        liar._seed = bytes(32)
    else:
        liar._mask = X25519PrivateKey.generate()
    group.deal(group.names)
    giving = group.names if stays else group.names[1:]
    group.mask(giving)
    group.unmask(giving)
    with pytest.raises(SumLostError, match="device d-0 dealt false shares"):
        group.service.total()


def test_the_service_cannot_pass_itself_off_as_a_device() -> None:
    group = Group(4)
    own, other = group.members[0], group.members[1]
    stranger = participant("d-1").member
    fourth = group.members[3]
    for wrong, match in (
        ([own, replace(other, joining=stranger.joining), *group.members[2:]], "d-1 did not sign"),
        ([own, replace(other, joining=replace(other.joining, round="campaign-0")), fourth], "joined round"),
        ([own, other, other, fourth], "names a device twice"),
        ([own, other, replace(stranger), fourth], "names a device twice"),
        (group.members[1:], "or not this one"),
        ([participant("d-0").member, *group.members[1:]], "or not this one"),
        (group.members[:2], "a group of 2"),
    ):
        with pytest.raises(UntrustedError, match=match):
            group.parts["d-0"].deal(wrong, 3)
    key = Ed25519PrivateKey.generate()
    weak = replace(other.joining, mask_key=masks.text(bytes(32)))
    signature = masks.text(key.sign(signed_bytes(payload_type(Joining), dumps(weak))))
    with pytest.raises(UntrustedError, match="nobody can agree"):
        check_member(Member(masks.text(key.public_key().public_bytes_raw()), weak, signature), ROUND)
    with pytest.raises(UntrustedError, match="a group of 4, and the round promised 10"):
        group.parts["d-0"].deal(group.members, 10)


def test_who_knows_his_peers_takes_no_invented_ones() -> None:
    """The service enrols devices of its own to be alone with one: only a list of the owner's helps."""
    others = [participant(f"d-{number}").member for number in range(5)]
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    for trusted, fits in ((others, True), (others[:3], False)):
        known = frozenset({raw, *map(identity, trusted)})
        part = Participant(ROUND, "d-9", raw, key.sign, known=known)
        if fits:
            part.deal([part.member, *others], 3)
        else:
            with pytest.raises(UntrustedError, match="of 6 members 4 are among `peers`, and 5 must be"):
                part.deal([part.member, *others], 3)


def test_what_the_service_holds_tells_no_contribution() -> None:
    """It has the seeds of own masks, and the keys of who dropped out. Every mask that these make is taken off
    in every combination, and what is left of each device is nothing like what it gave."""
    group = Group(7)
    group.deal(group.names)
    staying = group.names[2:]
    group.mask(staying)
    group.unmask(staying)
    np.testing.assert_array_equal(group.service.total(), group.expected(staying))
    given = {group.service._points[name]: told for name, told in group.service._unmaskings.items()}
    points = dict(sorted(given.items())[: group.service.enough])
    seeds = {
        name: shamir.joined({p: bytes.fromhex(told.self_masks[name]) for p, told in points.items()})
        for name in staying
    }
    keys = {
        name: shamir.joined({p: bytes.fromhex(told.keys[name]) for p, told in points.items()})
        for name in group.names[:2]
    }
    assert set(seeds) & set(keys) == set()
    for name in staying:
        left = group.masked[name] - masks.expanded(seeds[name], NUMBERS)
        for number in range(len(keys) + 1):
            for some in itertools.combinations(keys, number):
                tried = left.copy()
                for dropped in some:
                    private = X25519PrivateKey.from_private_bytes(keys[dropped])
                    peer = masks.raw(group.service.members[name].joining.mask_key)
                    tried += masks.pair_mask(private, peer, ROUND, dropped, name, NUMBERS)
                near = np.abs(tried.astype(np.int32).astype(np.int64) - group.values[name]) < 2**24
                assert near.mean() < 0.2  # of uniform words one in 128 is that near
    pairs = [(one, other) for one, other in itertools.combinations(staying, 2)]
    for one, other in pairs:  # two alone cancel one mask, and the others stay
        both = group.masked[one] + group.masked[other]
        both = both - masks.expanded(seeds[one], NUMBERS) - masks.expanded(seeds[other], NUMBERS)
        truth = group.values[one].astype(np.int64) + group.values[other]
        assert (np.abs(both.astype(np.int32).astype(np.int64) - truth) < 2**24).mean() < 0.2


def test_noise_of_the_devices_adds_up_to_what_was_asked_for() -> None:
    group = Group(9)
    group.deal(group.names)
    group.mask(group.names[2:], noise=1000.0)
    group.unmask(group.names[2:])
    off = group.service.total() - group.expected(group.names[2:])
    assert 750 < float(np.std(off)) < 1250  # seven of nine stay, as many as the noise reckons with


@given(st.binary(min_size=32, max_size=32), st.integers(1, 9), st.integers(0, 5), st.randoms())
@settings(max_examples=40)
def test_so_many_shares_give_a_secret_back(secret: bytes, enough: int, more: int, order: object) -> None:
    shares = dict(enumerate(shamir.split(secret, enough + more, enough), 1))
    chosen = dict(order.sample(sorted(shares.items()), enough))  # type: ignore[attr-defined]
    assert shamir.joined(chosen) == secret


def test_one_share_fewer_fits_every_secret() -> None:
    shares = dict(enumerate(shamir.split(bytes(range(32)), 5, 3), 1))
    two = {point: shares[point] for point in (1, 4)}
    for candidate in (0, 7, 2**255):
        # The parabola through the candidate and the two shares is as likely as any other.
        at_zero = shamir.weights((1, 4, 5))
        known = sum(int.from_bytes(two[point]) * at_zero[number] for number, point in enumerate((1, 4)))
        fifth = (candidate - known) * pow(at_zero[2], -1, shamir.PRIME) % shamir.PRIME
        third = {**two, 5: fifth.to_bytes(shamir.SHARE_BYTES)}
        assert shamir.joined(third) == candidate.to_bytes(32)
    for wrong in ((b"short", 3, 2), (bytes(32), 2, 3), (bytes(32), 2, 0)):
        with pytest.raises(ValueError, match="are enough"):
            shamir.split(*wrong)


def test_the_first_of_each_message_counts() -> None:
    group = Group(4)
    group.deal(group.names)
    group.mask(group.names)
    before = group.service.sealed_for("d-0")
    another = group.parts["d-1"].deal(group.members, 3).dealt["d-2"]
    group.service.deal("d-0", Dealing(ROUND, dict.fromkeys(group.names, another)))
    assert group.service.sealed_for("d-0") == before
    group.service.mask("d-0", np.ones(NUMBERS, np.uint32))
    group.unmask(group.names)
    np.testing.assert_array_equal(group.service.total(), group.expected(group.names))
    with pytest.raises(ProtocolError, match="for 1 devices, the group has 4"):
        group.service.deal("d-1", Dealing(ROUND, {"d-0": another}))
    with pytest.raises(ProtocolError, match="3 numbers"):
        group.service.mask("d-1", np.ones(3, np.uint32))
    with pytest.raises(ProtocolError, match="dealt no shares"):
        Group(4).service.mask("d-1", np.ones(NUMBERS, np.uint32))
    assert threshold(3) == 3
    assert isinstance(group.parts["d-0"].unmask(group.names), Unmasking)
