"""What a device does by itself, in one place, with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Response = Literal["report", "adapt", "reset"]
"""To drift or a warning: only report it, adapt at once and more often, or reset and adapt again."""

InputResponse = Literal["report", "adapt", "reset", "realign"]
"""To drift of the inputs: one of those, or map each channel back to its mean and spread before the shift."""


@dataclass(frozen=True)
class OnlinePolicy:
    """How a device learns.

    Attributes:
        shots: support examples kept by class (classification) or in all; None takes the bundle's.
        hold_back: every how-manieth example of a class is held back from the support to judge adaptation.
        held_back: examples held back by class, or in all, at most.
        judge_from: held-back examples needed before they decide; until then the bundle's measured curve does.
        every: labelled examples between two adaptations.
        on_warning, on_drift: response to a warning or drift in the losses.
        on_input_shift: response to drift in the inputs; they may shift for good reasons, so it only reports.
            `realign` needs no label; the first `judge_from` labelled examples decide whether it stays.
        realign_window: inputs seen by the detector from which a channel's mean and spread are taken, at least
            16; after a shift the first 16 give a first alignment, and each doubling up to here a better one.
        watch_every: every how-manieth input the input-shift detector sees; neighbours resemble each other.
        unlabelled: learn class means in closed form from predicted windows, too, for one more run of the body
            each. Off by default: it helps where all classes come by, and devices without labels cannot tell.
        hurry: labelled examples for which a device adapts four times as often after `adapt` or `reset`.
        keep: newest labelled examples that are taken along when a drift resets: they are of the new kind.
        pending: inputs remembered for labels that come late.
        report_s: seconds of one report, until the service says otherwise: the fewer examples it covers, the
            more it tells of each.
        save_s: shortest time between two saves of adapted state, unless an event demands one.
        trial_starts: starts a new version gets to prove itself.
        trial_predictions: predictions it must give in one run.
        allow_constant: accept windows in which no channel varies.

    Raises:
        ValueError: a number is below what makes sense.
    """

    shots: int | None = None
    hold_back: int = 4
    held_back: int = 8
    judge_from: int = 4
    every: int = 8
    on_warning: Response = "adapt"
    on_drift: Response = "reset"
    on_input_shift: InputResponse = "report"
    realign_window: int = 64
    watch_every: int = 4
    unlabelled: bool = False
    hurry: int = 64
    keep: int = 8
    pending: int = 256
    report_s: float = 900.0
    save_s: float = 60.0
    trial_starts: int = 3
    trial_predictions: int = 20
    allow_constant: bool = False

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name} is {value}: use {least} or more")


_LEAST: dict[str, float] = {
    "shots": 1,
    "hold_back": 1,
    "held_back": 0,
    "judge_from": 1,
    "every": 1,
    "realign_window": 16,
    "watch_every": 1,
    "hurry": 0,
    "keep": 0,
    "pending": 1,
    "report_s": 0,
    "save_s": 0,
    "trial_starts": 1,
    "trial_predictions": 0,
}
