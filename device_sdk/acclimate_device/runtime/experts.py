"""Mixing experts by how well they did lately: a device is never for long worse than its best one.

Each expert has a trust, the discounted sum of its scores (log likelihoods, or negative errors in units of
the usual error), and weighs as exp(trust). That is the exponentially weighted forecaster (Cesa-Bianchi and
Lugosi 2006, chapter 2), with discounting so that the ranking may change (Herbster and Warmuth 1998 on
tracking the best expert). Pure functions over numpy arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

MEMORY = np.float32(0.95)  # what is left of a score after one more label: twenty labels count
_WORST = np.float32(-6.9)  # log of 1/1000: one surprise does not silence an expert


def weights(trust: Float, prior: Float) -> Float:
    """Shares of the experts, `(experts,)`, which add up to one.

    Args:
        trust: from `after`, zeros at first.
        prior: log of what an expert weighs before any label, up to a constant.
    """
    raised = trust + prior
    shares: Float = np.exp(raised - np.maximum.reduce(raised))
    shares /= np.add.reduce(shares)
    return shares


def after(trust: Float, scores: Float) -> Float:
    """The trust after one more label.

    Args:
        scores: of each expert, `(experts,)`; higher is better. Not finite counts as the worst.
    """
    known = np.where(np.isfinite(scores), np.maximum(scores, _WORST), _WORST)
    moved: Float = (MEMORY * trust + known).astype(np.float32)
    moved -= np.maximum.reduce(moved)
    return moved
