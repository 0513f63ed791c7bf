"""A chapter of the demo: what is said, the figures that stand out, and the pictures. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from acclimate.rollout.console.pictures import Picture


@dataclass(frozen=True)
class Chapter:
    """One step of the story.

    Attributes:
        paragraphs: plain text; the terminal prints the same words.
        figures: label and value, shown large.
        track: a rollout's waves as one bar; empty elsewhere.
    """

    title: str
    paragraphs: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...] = ()
    track: Markup = field(default_factory=Markup)
