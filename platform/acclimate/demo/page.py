"""The report page: chapters in, one self-contained HTML file out. No script, no font, no other host."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acclimate.demo.chapters import Chapter
from acclimate.rollout.console.pictures import Picture


def page(
    lede: Sequence[str],
    figures: Sequence[tuple[str, str]],
    hero: Picture,
    chapters: Sequence[Chapter],
    links: Sequence[tuple[str, str]],
) -> str:
    """The whole page.

    Args:
        lede: opening paragraphs.
        figures: label and value, the few that matter most.
        hero: the picture of the whole story.
        links: name and URL of what is open beside it; empty where nothing is.
    """
    console = resources.files("acclimate.rollout.console") / "static" / "console.css"
    own = resources.files("acclimate.demo") / "page.css"
    return _TEMPLATES.get_template("page.html").render(
        style=Markup(console.read_text("utf-8") + own.read_text("utf-8")),  # both are our own files
        lede=lede,
        figures=figures,
        hero=hero,
        chapters=chapters,
        links=links,
    )


_TEMPLATES = Environment(
    loader=PackageLoader("acclimate.demo", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
