"""The story from beginning to end: do a phase, say what came of it, and write the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from acclimate.demo import narration
from acclimate.demo.chapters import Chapter
from acclimate.demo.happened import Drifted, Learned, Retrained, RolledOut, Settled
from acclimate.demo.page import page
from acclimate.demo.pictures import fleet_picture
from acclimate.demo.story import Story
from acclimate.rollout.console.pictures import Picture
from acclimate.simulation import Outcome
from acclimate.workflow import Listener

Say = Callable[[Chapter], None]


@dataclass(frozen=True)
class Told:
    """The whole story as data; `report` makes the page of it."""

    learned: Learned
    settled: Settled
    drifted: Drifted
    retrained: Retrained
    second: RolledOut
    third: RolledOut
    outcome: Outcome

    def chapters(self) -> list[Chapter]:
        """In the order of what happened."""
        return [
            narration.learned(self.learned),
            narration.settled(self.settled),
            narration.drifted(self.drifted),
            narration.retrained(self.retrained, self.learned),
            narration.rolled_out(self.second, self.outcome),
            narration.rolled_out(self.third, self.outcome, spoiled=True),
        ]

    def hero(self) -> Picture:
        """The picture of the whole story."""
        return fleet_picture(self.outcome, self.settled, self.drifted, (self.second, self.third))


def tell(story: Story, listener: Listener, say: Say) -> Told:
    """Let the story happen; each chapter is said as it ends.

    Raises:
        AcclimateError: a phase could not be done; what was until then stays in the demo's folder.
    """
    learned = story.learn(listener)
    say(narration.learned(learned))
    settled = story.settle(learned.version)
    say(narration.settled(settled))
    drifted = story.drift()
    say(narration.drifted(drifted))
    retrained = story.retrain()
    say(narration.retrained(retrained, learned))
    second = story.roll_out(retrained.version, undecided="promote")
    say(narration.rolled_out(second, story.so_far()))
    third = story.roll_out(story.spoil(retrained.version), undecided="rollback")
    say(narration.rolled_out(third, story.so_far(), spoiled=True))
    return Told(learned, settled, drifted, retrained, second, third, story.end())


def report(
    told: Told, took_s: float, cpu_s: float, file: Path, links: Sequence[tuple[str, str]] = ()
) -> None:
    """Write the report page, and the figures beside it as JSON."""
    hero = told.hero()
    lede = narration.lede(told.settled.devices, took_s, cpu_s)
    figures = narration.summary(told.settled, told.drifted, told.second, told.third, told.outcome)
    file.write_text(page(lede, figures, hero, told.chapters(), links), encoding="utf-8")
    figures_file = file.with_suffix(".json")
    document = {"took_s": took_s, "cpu_s": cpu_s, "figures": dict(figures), "fleet": told.outcome.as_dict()}
    figures_file.write_text(json.dumps(document, indent=2) + "\n")
