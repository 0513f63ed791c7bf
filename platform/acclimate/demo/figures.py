"""Figures of the fleet between two moments, from what its devices reported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from acclimate.rollout.domain.evidence import Observation
from acclimate.simulation import Outcome


@dataclass(frozen=True)
class Arms:
    """Mean loss of settled canaries and controls among some devices; NaN where there is none."""

    canaries: int
    controls: int
    canary_loss: float
    control_loss: float


def accuracy(outcome: Outcome, first_s: float, last_s: float) -> float:
    """Share of labelled examples predicted rightly, over reports closed between two moments, in seconds after
    the start; NaN without any."""
    examples = mistakes = 0
    for device in outcome.devices:
        for at, report in device.reports:
            if first_s < at - outcome.started_at <= last_s:
                examples += report.start_loss.count + report.adapted_loss.count
                mistakes += report.mistakes
    return 1 - mistakes / examples if examples else math.nan


def owners(outcome: Outcome) -> dict[str, str]:
    """The person whose watch each device is, by the id the service knows it by."""
    return {device.device_id: device.task.rpartition("-")[0] for device in outcome.devices}


def arms_of(observations: Iterable[Observation], person: Mapping[str, str], people: Iterable[str]) -> Arms:
    """The two arms of a rollout among the devices of some people."""
    chosen = set(people)
    losses: dict[str, list[float]] = {"canary": [], "control": []}
    for one in observations:
        if one.order is not None and one.loss is not None and person.get(one.device) in chosen:
            losses[one.arm].append(one.loss)
    canary, control = losses["canary"], losses["control"]
    return Arms(len(canary), len(control), _mean(canary), _mean(control))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
