"""From reports to outcomes: what a device's reports say about it, and when its outcome is fixed.

A device settles once, by a rule that knows nothing of its arm or of how the others do. What it does
afterwards is seen in counts over time, never in the gates: an outcome that could still move would break the
guarantee that gates may be looked at after every report.
"""

from __future__ import annotations

from dataclasses import replace

from acclimate.rollout.domain.evidence import Observation
from acclimate.rollout.domain.plan import Plan
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout, State

MOST = 2**53 - 1
"""Counts of one device stop here, where a database's and every reader's integers still hold them."""


def hear(observation: Observation, report: ReportRecord) -> Observation:
    """The observation after one more report; settled ones and reports from before its assignment stay out."""
    if observation.order is not None:
        return observation
    if report.counter < observation.counter:
        refused = report.refused and report.ended_at >= observation.taken_at
        return replace(observation, failure=observation.failure or refused)
    counted = observation.adapted  # what came before the first adaptation is not post-adaptation loss
    return replace(
        observation,
        heard_at=report.received_at,
        failure=observation.failure or _failed(observation, report),
        adapted=observation.adapted or report.adaptations + report.kept_starts > 0,
        paid=observation.paid or report.adaptations > 0,
        examples=min(MOST, observation.examples + (report.examples if counted else report.adapted_examples)),
        loss_sum=observation.loss_sum + (report.loss_sum if counted else report.adapted_loss_sum),
        drift=observation.drift or report.drifts > 0,
        predictions=min(MOST, observation.predictions + report.predictions),
        latency_ms=_latency(observation, report),
    )


def heard_return(observation: Observation, report: ReportRecord, rollout: Rollout) -> Observation:
    """Note that a canary of a roll back runs another release again."""
    back = (
        rollout.state is State.ROLLING_BACK
        and report.counter >= rollout.touched
        and report.content_hash != rollout.plan.release.content_hash
    )
    return replace(observation, returned=True) if back and not observation.returned else observation


def is_settled(observation: Observation, plan: Plan, now: float) -> bool:
    """Whether the outcome is fixed now: failed, silent, or watched long enough with enough labels."""
    if observation.order is not None or observation.failure or is_silent(observation, plan, now):
        return True
    if observation.heard_at is None or now < observation.taken_at + plan.soak_s:
        return False
    needs_loss = any(gate.metric == "loss" for gate in plan.gates)
    return not needs_loss or observation.examples >= plan.min_examples


def is_silent(observation: Observation, plan: Plan, now: float) -> bool:
    """Whether it took its release and has not been heard of for too long."""
    last = observation.taken_at if observation.heard_at is None else observation.heard_at
    return not observation.failure and now - last >= plan.silence_s


def settle(observation: Observation, plan: Plan, now: float, order: int) -> Observation:
    """Fix the outcome at place `order`."""
    return replace(observation, order=order, silence=is_silent(observation, plan, now))


def _failed(observation: Observation, report: ReportRecord) -> bool:
    return report.refused or report.fallbacks > 0 or report.content_hash != observation.content_hash


def _latency(observation: Observation, report: ReportRecord) -> float | None:
    if report.latency_ms is None or not report.predictions:
        return observation.latency_ms
    if observation.latency_ms is None or not observation.predictions:
        return report.latency_ms
    total = observation.predictions + report.predictions
    weighted = observation.latency_ms * observation.predictions + report.latency_ms * report.predictions
    return weighted / total
