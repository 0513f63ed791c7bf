"""A round whose devices mask what they give, in one process: both sides' code and no wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from acclimate.errors import RecipeError
from acclimate.secure_sum import SecureSum, SumLostError
from acclimate_device.federated.secure import FEWEST, Participant
from acclimate_device.protocol import LIMITS

_ROUND = "rehearsal"


def hidden_sum(
    sent: Sequence[NDArray[np.int32]],
    stays: NDArray[np.bool_],
    noise: float,
    gauss: Callable[[int], NDArray[np.float64]] | None,
) -> NDArray[np.int64]:
    """The sum of those who stay, `(p,)`; the others vanish after they dealt shares, when it costs the most.

    Args:
        sent: what each device would give, `(p,)`.
        stays: `(devices,)`.
        noise: see `Participant.masked`.

    Raises:
        RecipeError: fewer than three devices, or too few stay.
    """
    if len(sent) < FEWEST:
        raise RecipeError(f"federated.secure hides nobody among {len(sent)} devices: {FEWEST} are the fewest")
    total = np.zeros(len(sent[0]), np.int64)
    groups = -(-len(sent) // LIMITS.group_devices)
    for first in range(groups):
        total += _group_sum(sent[first::groups], stays[first::groups], noise, gauss)
    return total


def _group_sum(
    sent: Sequence[NDArray[np.int32]],
    stays: NDArray[np.bool_],
    noise: float,
    gauss: Callable[[int], NDArray[np.float64]] | None,
) -> NDArray[np.int64]:
    parts = {f"device-{number}": _participant(f"device-{number}") for number in range(len(sent))}
    members = [part.member for part in parts.values()]
    service = SecureSum(_ROUND, members, len(sent[0]))
    for name, part in parts.items():
        service.deal(name, part.deal(members, FEWEST))
    staying = [name for name, here in zip(parts, stays, strict=True) if here]
    for number, name in enumerate(parts):
        if name in staying:
            masked = parts[name].masked(sent[number], service.sealed_for(name), noise, gauss)
            service.mask(name, np.frombuffer(masked, "<u4"))
    if len(staying) < service.enough:
        raise RecipeError(
            f"federated.dropouts leaves {len(staying)} of {len(sent)} devices, of which {service.enough} "
            "have to stay: lower it"
        )
    for name in staying:
        service.unmask(name, parts[name].unmask(staying))
    try:
        return service.total()
    except SumLostError as error:
        raise AssertionError("devices of our own deal true shares") from error


def _participant(name: str) -> Participant:
    key = Ed25519PrivateKey.generate()
    return Participant(_ROUND, name, key.public_key().public_bytes_raw(), key.sign)
