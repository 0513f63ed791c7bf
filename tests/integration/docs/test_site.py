"""The pages build without a warning, and nothing that people meet is undocumented."""

import re
from pathlib import Path

import pytest

from docs import reference

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


def test_the_pages_build_without_a_warning_and_can_be_searched(site):
    assert '"uptan":' in (site / "searchindex.js").read_text()
    assert "training.meta_batch" in (site / "reference" / "recipe.html").read_text()


@pytest.mark.parametrize("page", reference.PAGES)
def test_everything_is_documented(page):
    rows = reference.rows_of(page)
    assert rows
    assert [(row.section, row.name) for row in rows if not row.meaning.strip()] == []


def test_every_setting_that_pages_name_exists():
    """`--set KEY=` in tutorials and how-tos names a key of a recipe or a scenario."""
    keys = {row.name for page in ("recipe", "scenario") for row in reference.rows_of(page)}
    named = {
        key
        for page in (ROOT / "docs").glob("*/*.md")
        if page.parent.name in ("tutorials", "how-to")
        for key in re.findall(r"--set ([a-z_.]+)=", page.read_text())
    }
    assert named
    assert named <= keys


def test_every_command_that_pages_name_exists():
    known = {row.section for row in reference.rows_of("cli")}
    groups = {name.rsplit(" ", 1)[0] for name in known if name.count(" ") == 2}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if page.parent.name == "reference":
            continue
        for words in re.findall(r"(?:^|`)acclimate ([a-z]+)(?: ([a-z]+))?", page.read_text(), re.MULTILINE):
            command = f"acclimate {words[0]}"
            if command in groups:
                assert f"{command} {words[1]}" in known, f"{page}: {command} {words[1]}"
            else:
                assert command in known, f"{page}: {command}"
