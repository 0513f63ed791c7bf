"""Which tasks are trained on and which are held out: always whole tasks, and whole groups of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from acclimate.errors import DataError
from acclimate.tasks.episodes import Indices, TaskDistribution
from acclimate.tasks.episodes.randomness import Domain, generator

ENOUGH_TO_VALIDATE = 5  # groups; of fewer, every one is needed to train and to judge
_AUTO_VALIDATION = 1 / 6


@dataclass(frozen=True)
class Split:
    """Task indices, each ascending, no group in two of them."""

    train: Indices
    validation: Indices
    test: Indices


def split_tasks(
    data: TaskDistribution,
    *,
    test: float | int = 0.2,
    validation: float | int | None = 0.0,
    test_groups: Sequence[str] = (),
    validation_groups: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Hold out whole groups of tasks at random.

    Args:
        test: a share of the groups (float below 1) or a number of groups (int).
        validation: likewise, taken from what is left; None takes a sixth of the groups where there are at
            least `ENOUGH_TO_VALIDATE`, and else none.
        test_groups: the groups to test on by name or pattern (`person-1*`), in place of `test`.
        validation_groups: likewise, in place of `validation`.
        seed: of the random choice.

    Raises:
        DataError: too few groups, a pattern matches none, or a held-out task has a label that no training
            task has.
    """
    names = sorted(set(data.groups))
    shuffled = [names[i] for i in generator(seed, Domain.SPLIT).permutation(len(names))]
    tested = _matching(names, test_groups) if test_groups else shuffled[: _count(test, len(names), "test")]
    rest = [name for name in shuffled if name not in set(tested)]
    if validation is None:
        validation = _AUTO_VALIDATION if len(names) >= ENOUGH_TO_VALIDATE else 0
    validated = rest[: _count(validation, len(names), "validation")]
    if validation_groups:
        validated = [name for name in _matching(names, validation_groups) if name not in set(tested)]
    return _checked(data, Split(*_indices(data, set(tested), set(validated))))


def fold_groups(data: TaskDistribution, folds: int, *, seed: int = 0) -> list[list[str]]:
    """The names of the groups of each fold; every group is in one.

    Raises:
        DataError: there are fewer groups than folds.
    """
    names = sorted(set(data.groups))
    if not 2 <= folds <= len(names):
        raise DataError(f"folds is {folds}: it must lie between 2 and the number of groups, {len(names)}")
    order = generator(seed, Domain.SPLIT).permutation(len(names))
    return [[names[i] for i in part] for part in np.array_split(order, folds)]


def _count(share: float | int, groups: int, name: str) -> int:
    if share < 0 or (isinstance(share, float) and share >= 1):
        raise DataError(f"{name} is {share}: give a share of the groups below 1 or a number of groups")
    if isinstance(share, int):
        return share
    return max(1, round(share * groups)) if share > 0 else 0


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise DataError(f"no group matches {pattern!r}; groups are {_some(names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _indices(data: TaskDistribution, test: set[str], validation: set[str]) -> Iterator[Indices]:
    part = np.array([2 if group in test else 1 if group in validation else 0 for group in data.groups])
    return (np.flatnonzero(part == number).astype(np.int64) for number in range(3))


def _checked(data: TaskDistribution, split: Split) -> Split:
    if len(split.train) == 0:
        groups = len(set(data.groups))
        raise DataError(
            f"no task is left to train on: all {groups} group(s) are held out; hold out fewer, "
            "or add recordings"
        )
    unseen = set(data.labels_of(np.concatenate([split.validation, split.test])))
    unseen -= set(data.labels_of(split.train))
    if unseen:
        raise DataError(
            f"label(s) {_some(sorted(unseen))} occur in held-out tasks only, so no training task can teach "
            "them: hold out other groups (another seed), or add recordings"
        )
    return split


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
