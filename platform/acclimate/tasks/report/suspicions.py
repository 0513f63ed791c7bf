"""What makes figures doubtful though every value is in order: units, leaks, clocks, counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from acclimate.tasks.columns.rhythm import usual_step
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.report.findings import Finding, names
from acclimate.tasks.report.scan import Answers, Scan, answers

APART = 30.0
"""Times the fleet's usual level and spread from which on a device seems to use another unit."""
ALONE = 0.98
"""Balanced accuracy on unseen devices from which on one channel alone gives the label away."""
DISGUISE = 0.999
"""Correlation from which on a channel is the target in disguise."""
FEW_OWNERS = 8
"""Below this a comparison of contenders says little about further devices."""
RARE = 0.02
UNEVEN = 0.05


def suspicions(pool: TaskPool, scanned: Scan) -> Iterator[Finding]:
    """Findings from a sample of every task."""
    yield from _units(pool, scanned)
    yield from _precision(pool, scanned)
    yield from _clocks(pool, scanned)
    yield from _counts(pool)
    found = answers(pool)
    if found is not None:
        yield from _leaks(pool, found)


def _units(pool: TaskPool, scanned: Scan) -> Iterator[Finding]:
    """Devices whose level and spread are both far from the fleet's by about the same factor."""
    for at, channel in enumerate(pool.info.schema.channels if pool.values.ndim == 2 else ()):
        low, middle, high = (
            scanned.quantiles[:, at, 0],
            scanned.quantiles[:, at, 2],
            scanned.quantiles[:, at, 4],
        )
        size = np.maximum(np.abs(middle), high - low)
        spread = high - low
        usual_size, usual_spread = np.nanmedian(size), np.nanmedian(spread)
        if not usual_size > 0 or not usual_spread > 0 or len(size) < 3:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            factor, of_spread = size / usual_size, spread / usual_spread
        for far in (
            (factor > APART) & (of_spread > APART / 10),
            (factor < 1 / APART) & (of_spread < 10 / APART) & (spread > 0),
        ):
            if far.any() and far.mean() < 0.5:
                times = float(np.nanmedian(factor[far]))
                told = f"{times:,.0f} times" if times > 1 else f"a {1 / times:,.0f}th of"
                where = names([pool.task_ids[task] for task in np.flatnonzero(far)])
                yield Finding(
                    "warning",
                    f"channel {channel!r} of {where} has {told} its usual size: another unit?",
                    "bring every device to one unit before training; a device's `beyond` holds or refuses it",
                )


def _precision(pool: TaskPool, scanned: Scan) -> Iterator[Finding]:
    if pool.values.dtype != np.float64:
        return
    counters = [one for one in scanned.rises if one not in pool.info.schema.relative]
    if counters and pool.info.schema.window > 1:
        yield Finding(
            "warning",
            f"{names(counters)} only rise, to numbers of which float32 would lose steps: counters",
            f"set `relative: [{', '.join(counters)}]`, so that a window holds the rise since its first row",
        )


def _clocks(pool: TaskPool, scanned: Scan) -> Iterator[Finding]:
    if scanned.step is None or scanned.uneven is None or pool.info.schema.window == 1:
        return
    uneven, even = np.flatnonzero(scanned.uneven > UNEVEN), usual_step(float(np.nanmedian(scanned.step)))
    if len(uneven):
        yield Finding(
            "warning",
            f"{names([pool.task_ids[task] for task in uneven])}: up to {100 * scanned.uneven.max():.0f} % of "
            "the steps between rows are far from the usual one, so windows last differently",
            f"set `resample_s`, such as {even:g}, or `max_gap` so that no window crosses a pause",
        )
    usual = np.nanmedian(scanned.step)
    other = np.flatnonzero((scanned.step > 1.5 * usual) | (scanned.step < usual / 1.5))
    if len(other):
        yield Finding(
            "warning",
            f"{names([pool.task_ids[task] for task in other])}: rows come at another rate than elsewhere "
            f"({np.nanmin(scanned.step):g} to {np.nanmax(scanned.step):g}, usually {usual:g} apart)",
            f"set `resample_s`, such as {usual_step(float(np.nanmax(scanned.step))):g}, for all alike",
        )


def _counts(pool: TaskPool) -> Iterator[Finding]:
    owners = len(set(pool.groups))
    if owners < FEW_OWNERS:
        yield Finding(
            "note",
            f"{owners} device(s) or owner(s): too few to tell whether a start helps devices nobody has seen",
            f"record at least {FEW_OWNERS}, better 20; until then read figures as examples",
        )
    by_label = np.diff(pool.cells).reshape(-1, pool.classes).sum(axis=0)
    rare = [
        label
        for label, count in zip(pool.info.labels, by_label, strict=False)
        if 0 < count < RARE * by_label.sum()
    ]
    if rare:
        yield Finding(
            "note",
            f"label(s) {names(rare)} make up less than {100 * RARE:.0f} % of the examples",
            "look at the recall of each class, not at accuracy; episodes show every class alike",
        )


def _leaks(pool: TaskPool, found: Answers) -> Iterator[Finding]:
    schema = pool.info.schema
    for target in schema.targets if schema.kind == "regression" else ():
        if target in schema.channels:
            yield Finding(
                "error",
                f"the target {target!r} is among the channels: a device that knows it need not predict it",
                "take it out of `channels`, or forecast it (`kind: forecasting`)",
            )
    for at, channel in enumerate(schema.channels):
        if channel in schema.targets:
            continue
        if schema.kind == "regression":
            strength = max(_correlation(found.levels[:, at, one], found.answers) for one in (0, 1))
            if strength > DISGUISE:
                yield Finding(
                    "warning",
                    f"channel {channel!r} follows the target {schema.targets[0]!r} with correlation "
                    f"{strength:.4f}: the target in disguise?",
                    "take it out unless devices really measure it beforehand",
                )
        elif schema.kind == "classification":
            strength = _tells(found.levels[:, at], found, pool)
            if strength > ALONE:
                yield Finding(
                    "warning",
                    f"channel {channel!r} alone tells the label on unseen devices in {100 * strength:.1f} % "
                    "of cases: does it hold the answer?",
                    "take it out if it is known only afterwards; if it is a real sensor, a threshold will do",
                )


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 8 or np.ptp(one[known]) == 0 or np.ptp(other[known]) == 0:
        return 0.0
    return float(abs(np.corrcoef(one[known], other[known])[0, 1]))


def _tells(levels: npt.NDArray[np.float64], found: Answers, pool: TaskPool) -> float:
    """Balanced accuracy of the nearest class median of one half of the owners, on the other half."""
    owners = {group: number for number, group in enumerate(dict.fromkeys(pool.groups))}
    side = np.array([owners[pool.groups[task]] % 2 for task in found.task.tolist()])
    recalls: list[float] = []
    for held in (0, 1):
        train, test = side != held, side == held
        classes = np.intersect1d(np.unique(found.answers[train]), np.unique(found.answers[test]))
        if len(classes) < 2 or len(classes) < len(np.unique(found.answers[test])):
            return 0.0
        best = 0.0
        for one in (0, 1):
            x = levels[:, one]
            centres = np.array([np.median(x[train & (found.answers == label)]) for label in classes])
            chosen = classes[np.abs(x[test][:, None] - centres).argmin(axis=1)]
            right = chosen == found.answers[test]
            best = max(
                best, float(np.mean([right[found.answers[test] == label].mean() for label in classes]))
            )
        recalls.append(best)
    return float(np.mean(recalls))
