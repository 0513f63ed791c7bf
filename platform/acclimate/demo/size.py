"""How big the demo is: the one that people see, and a small one for tests."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """Everything that costs time.

    Attributes:
        steps, workers: outer steps of the first training and its Ray task workers (0: this process).
        more_steps: outer steps of the retraining, which goes on from the first version.
        draws: episodes of each held-out task in the evaluation.
        devices: in the fleet.
        lessons, lessons_after: labelled examples a device sees before its watch changes arms, and then.
        every_s: seconds between two examples of a device, here; a real exercise window takes two.
        settle_s: how long the fleet lives between two chapters.
        patience_s: longest wait for drift to be noticed, a training or a rollout to end.
        waves: of every rollout. Half of the fleet is control, so the last wave reaches the other half; then
            everyone. The first is large enough for proof: harm this size takes about a dozen pairs. Each must
            add `min_devices` canaries, or it never passes.
        min_devices: canaries of a wave that must have reported.
    """

    steps: int = 80
    more_steps: int = 50
    workers: int = 2
    draws: int = 2
    devices: int = 60
    lessons: int = 100
    lessons_after: int = 60
    every_s: float = 0.2
    settle_s: float = 6.0
    patience_s: float = 240.0
    waves: str = "40%:0s, 50%:0s"
    min_devices: int = 3


FULL = Size()
SMALL = replace(FULL, steps=60, more_steps=40, workers=0, draws=1, devices=40, waves="50%:0s")
