"""A fleet's last layer from the moments that its devices give: no gradient, one round.

Against moments A = E[phi phi'] and B = E[phi y'] of a fleet, the head of a device with examples Phi, Y is

    W = (tau A + ridge I + Phi'Phi)^-1 (tau B + Phi'Y),

ridge regression in which the fleet counts like `tau` examples of the device's own. That is the posterior of
`last_layer` under the prior P0 = (tau A + ridge I)^-1, W0 = P0 tau B.
"""

from __future__ import annotations

import torch
from torch import Tensor


def last_layer_prior(gram: Tensor, products: Tensor, tau: float, ridge: float) -> tuple[Tensor, Tensor]:
    """W0 `(d, C)` and the factor `(d, d)` of P0 that `last_layer.covariance` takes, in float64.

    Args:
        gram: A `(d, d)`; its negative eigenvalues, which noise can make, count as none.
        products: B `(d, C)`.
        tau: examples that the fleet counts like, above 0.
        ridge: above 0.
    """
    values, vectors = torch.linalg.eigh((gram + gram.T).double() / 2)
    inverse = (vectors / (tau * values.clamp_min(0) + ridge)) @ vectors.T
    lower = torch.linalg.cholesky((inverse + inverse.T) / 2)
    factor = torch.tril(lower, -1) + torch.diag(2 * lower.diagonal().log())
    return inverse @ (tau * products.double()), factor
