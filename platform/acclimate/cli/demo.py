"""`acclimate demo`: the whole story in one command, and then its pages."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.padding import Padding
from rich.text import Text

from acclimate.cli.output import err, next_step, note, out, say, word
from acclimate.cli.registry import wait_for_interrupt
from acclimate.home import home

if TYPE_CHECKING:
    from acclimate.demo.chapters import Chapter
    from acclimate.demo.stage import Stage
    from acclimate.demo.story import Story

SAY_EVERY_S = 10.0


@click.command()
@click.option(
    "--wait/--no-wait",
    default=lambda: os.environ.get("WAIT", "1") != "0",
    help="Keep the pages open until Ctrl-C; the environment's WAIT=0 means --no-wait.",
)
@click.option("--browser/--no-browser", default=False, help="Open the report in a browser window.")
@click.option("--small", is_flag=True, help="Fewer devices and shorter trainings, for a quick look.")
def demo(wait: bool, browser: bool, small: bool) -> None:
    """Train, ship, adapt, drift, retrain, roll out and roll back: the whole story on real recordings.

    Everything happens in a fresh folder under ACCLIMATE_HOME, with a registry, keys and a service of its own.
    """
    from acclimate.demo.size import FULL, SMALL
    from acclimate.demo.stage import Stage
    from acclimate.demo.story import Story
    from acclimate.demo.telling import report, tell

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the service as Ctrl-C does
    began = time.monotonic()
    folder = _fresh_folder()
    os.environ["ACCLIMATE_HOME"] = str(folder)  # also of the service, and of the trainings it starts
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the demo never writes into somebody's registry
    size = SMALL if small else FULL
    say("Acclimate demo: a fleet of smartwatches, from first recording to a stopped bad version", "bold")
    say(f"  everything it makes is in {folder}")
    stage = Stage(folder, size)
    from acclimate.cli.progress import JobProgress

    with ExitStack() as opened:
        story = opened.enter_context(Story(stage, size, waiting()))
        with JobProgress() as progress:
            told = tell(story, progress, say_chapter)
        took = time.monotonic() - began
        file = folder / "report.html"
        report(told, took, cpu_s(), file)
        say(f"\nThe story took {took:.0f} s, {cpu_s():.0f} s of processor time.")
        say(f"report  {file}")
        if wait:
            show_pages(opened, stage, story, file, browser)
            return
    next_step(
        f"ACCLIMATE_HOME={word(folder)} acclimate serve", "open the console on what the demo left behind"
    )
    say(f"The console's token: {story.service.token}")


def waiting() -> Callable[[str], None]:
    """Says what a chapter waits for: at a terminal in place, elsewhere a line every ten seconds."""
    said_at = 0.0

    def tell(what: str) -> None:
        nonlocal said_at
        if err.is_terminal:
            note(f"  {what}", "dim", end="\x1b[K\r")
        elif time.monotonic() - said_at >= SAY_EVERY_S:
            said_at = time.monotonic()
            note(f"  {what}")

    return tell


def say_chapter(chapter: Chapter) -> None:
    """Print a chapter as it ends."""
    say(f"\n{chapter.title}", "bold")
    for text in chapter.paragraphs:
        out.print(Padding(Text(text), (0, 0, 0, 2)), highlight=False)
    for label, value in chapter.figures:
        say(f"    {label}: {value}")


def show_pages(opened: ExitStack, stage: Stage, story: Story, file: Path, browser: bool) -> None:
    """Print where the report, the console and MLflow are, until Ctrl-C."""
    from acclimate.demo.serving import serving_page
    from acclimate.registry.server import serving

    note("starting MLflow's pages ...", "dim")
    mlflow = opened.enter_context(serving(stage.registry.location))
    url = opened.enter_context(serving_page(file))
    say("\nOpen until Ctrl-C:", "bold")
    say(f"  report   {url}")
    say(f"  MLflow   {mlflow}")
    say(f"  console  {story.service.url}/console/  sign in with the token")
    say(f"           {story.service.token}")
    if browser:
        webbrowser.open(url)
    wait_for_interrupt()


def cpu_s() -> float:
    """Processor seconds of this process and of the children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _fresh_folder() -> Path:
    """A folder of its own for each demo, so that a second one starts from nothing again."""
    parent = home() / "demo"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y-%m-%dT%H-%M-%S-"), dir=parent))
