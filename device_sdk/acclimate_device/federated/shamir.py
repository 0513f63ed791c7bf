"""A secret in shares, of which so many give it back and one fewer say nothing (Shamir 1979).

Secrets have 256 bits and the field is that of the least prime above. The libraries that are kept up split 16
bytes, or bytes one by one; this is the polynomial itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

PRIME = 2**256 + 297
SHARE_BYTES = 33
SECRET_BYTES = 32


def split(secret: bytes, number: int, threshold: int) -> list[bytes]:
    """`number` shares, for the points 1 to `number`, of which any `threshold` give the secret back.

    Args:
        secret: 32 bytes.

    Raises:
        ValueError: the secret has another length, or fewer shares than the threshold are asked for.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= number:
        raise ValueError(f"{len(secret)} bytes into {number} shares of which {threshold} are enough")
    higher = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    shares = []
    for point in range(1, number + 1):
        value = 0
        for coefficient in higher:
            value = (value + coefficient) * point % PRIME
        shares.append(((value + int.from_bytes(secret)) % PRIME).to_bytes(SHARE_BYTES))
    return shares


def weights(points: tuple[int, ...]) -> list[int]:
    """Lagrange's weights at zero: the same for every secret of which shares for these points are at hand."""
    found = []
    for one in points:
        above = below = 1
        for other in points:
            if other != one:
                above = above * other % PRIME
                below = below * (other - one) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return found


def joined(shares: Mapping[int, bytes], at_zero: list[int] | None = None) -> bytes:
    """The secret of shares by point; with another number of them than the threshold, or a false one, another.

    Args:
        at_zero: `weights` of the points, where they are known.

    Raises:
        ValueError: the shares are of no secret.
    """
    factors = weights(tuple(shares)) if at_zero is None else at_zero
    value = sum(
        int.from_bytes(share) * factor for share, factor in zip(shares.values(), factors, strict=True)
    )
    try:
        return (value % PRIME).to_bytes(SECRET_BYTES)
    except OverflowError:
        raise ValueError("the shares are of no secret") from None
