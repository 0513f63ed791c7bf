"""Nothing that people meet is undocumented, and what pages name exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from acclimate.cli.main import cli
from docs import reference_pages

ROOT = Path(__file__).parents[3]
# a command in a block or between backticks, up to a comment, a pipe or the end
COMMAND = re.compile(r"(?:^|`)(acclimate [a-z][^`\n|;>]*)", re.MULTILINE)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", reference_pages.PAGES)
def test_everything_is_documented(page):
    rows = reference_pages.rows_of(page)
    assert rows
    assert [(row.section, row.name) for row in rows if not row.meaning.strip()] == []


def test_every_setting_that_pages_name_exists():
    """`--set KEY=` in tutorials and how-tos names a key of a recipe or a scenario."""
    keys = {row.name for page in ("recipe", "scenario") for row in reference_pages.rows_of(page)}
    named = {
        key
        for page in (ROOT / "docs").glob("*/*.md")
        if page.parent.name in ("tutorials", "how-to")
        for key in re.findall(r"--set ([a-z_.]+)=", page.read_text())
    }
    assert named
    assert named <= keys


def test_every_command_and_option_that_pages_name_exists():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "device_sdk").rglob("*.md")]
    seen, wrong = 0, []
    for page in pages:
        if page.parent.name == "reference":
            continue
        for line in COMMAND.findall(page.read_text().replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            seen += 1
            if said := unknown(words[1:]):
                wrong.append(f"{page.name}: {line}: no {said}")
    assert seen > 100
    assert wrong == []


def unknown(words: list[str]) -> str:
    """The first word that the command line does not know; empty if it knows all."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return words[0]
        command, words = found, words[1:]
    known = {"-h", "--help", "--version"}
    known |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    options = (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word))
    return next((option for option in options if option not in known), "")
