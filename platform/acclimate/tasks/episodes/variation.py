"""What changes from one training episode to the next beside its examples: how many labels, and of what time.

One start has to serve a device with no label and one with many, and a device whose labels are the newest it
has; so training draws the number of support examples, and takes some supports from just before a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acclimate.tasks.episodes import EpisodePlan, Indices
from acclimate.tasks.episodes.randomness import Domain, Floats, subsets, uniforms


@dataclass(frozen=True)
class Variation:
    """One row for each cell of each episode.

    Attributes:
        shots: support examples to keep, (cells,).
        newest: whether support is the newest before a moment, (cells,).
        moment: when that is, as a share of the timeline; NaN: where the plan cuts it, (cells,).
    """

    shots: Indices
    newest: npt.NDArray[np.bool_]
    moment: Floats


def variation(
    plan: EpisodePlan, seed: int, step: int, indices: Sequence[int], cells: int
) -> Variation | None:
    """The variation of the episodes at `indices`, the same for each of an episode's `cells`; None without."""
    if not plan.vary and not plan.newest:
        return None
    share, when, count = uniforms(seed, Domain.VARIATION, step, indices, 3).T
    choices = np.asarray(plan.vary or (plan.shots,), dtype=np.int64)
    shots = choices[(count * len(choices)).astype(np.int64)]
    moment = when if plan.anywhen else np.full_like(when, np.nan)
    return Variation(*(np.repeat(part, cells) for part in (shots, share < plan.newest, moment)))


def fewer(entries: Indices, keys: Floats, shots: Indices) -> Indices:
    """Keep a random `shots` of each row's entries; -1, which pads, is never among them if others are."""
    ranks = np.argsort(np.argsort(np.where(entries < 0, 2.0, keys), axis=1), axis=1)
    return np.where(ranks < shots[:, None], entries, -1)


def newest(
    plan: EpisodePlan,
    cut: tuple[Indices, Indices, Indices],
    drawn: Floats,
    varied: Variation,
) -> Indices:
    """Support and query of each cell, around its moment: (cells, shots + query shots), -1 for padding.

    Args:
        cut: entries of each cell until which support runs and from which query runs, and their number.
        drawn: uniforms (cells, at least shots + query shots).
    """
    until, begin, size = cut
    apart = begin - until
    room = np.maximum(size - apart - 1, 1)
    least = np.minimum(plan.shots, room // 2)
    when = least + (np.nan_to_num(varied.moment) * (room - least + 1)).astype(np.int64)
    until = np.where(np.isnan(varied.moment), until, np.minimum(when, room))
    begin = until + apart
    end = size if plan.query_span is None else np.minimum(size, begin + plan.query_span)
    column = np.arange(plan.shots) - plan.shots
    support = until[:, None] + column
    support = np.where((support >= 0) & (column >= -varied.shots[:, None]), support, -1)
    query = subsets(drawn[:, plan.shots : plan.shots + plan.query_shots], np.maximum(end - begin, 0))
    return np.concatenate([support, np.where(query < 0, -1, query + begin[:, None])], axis=1)
