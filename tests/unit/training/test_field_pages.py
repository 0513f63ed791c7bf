"""The pages of docs/fields: every shipped recipe of a field has its command, its picture and its figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from acclimate.training.recipe_file import shipped_recipes

PAGES = Path(__file__).parents[3] / "docs" / "fields"
FIELDS = ("wisdm", "gas-drift", "parking", "parking-forecast", "air")
TEXT = "\n".join(page.read_text() for page in sorted(PAGES.glob("*.md")))


@pytest.mark.parametrize("name", FIELDS)
def test_a_recipe_of_a_field_has_its_command_and_its_figures_on_a_page(name: str) -> None:
    assert name in shipped_recipes()
    assert re.search(rf"^acclimate train {name}\b", TEXT, re.MULTILINE)
    _, _, section = TEXT.partition(f"<!-- {name}: generated -->")
    table, end, _ = section.partition(f"<!-- {name}: end -->")
    assert end
    for row in ("start, not adapted", "joint model", "joint + fine-tuning", "meta-learned start", "worst"):
        assert row in table, f"{name} has no {row}"
    result = json.loads((PAGES / "results" / f"{name}.json").read_text())
    assert result["seeds"] >= 2
    assert result["machine"]["date"] in table, "the page is not of these figures: render it with --pages-only"


def test_the_watch_has_every_person_held_out_once() -> None:
    _, _, section = TEXT.partition("<!-- watch: generated -->")
    table = section.partition("<!-- watch: end -->")[0]
    for row in ("joint model", "joint + fine-tuning", "meta-learned start", "device only", "worst person"):
        assert row in table
    result = json.loads((PAGES / "results" / "watch.json").read_text())
    assert sorted(result["people"]) == [f"person-{number:02d}" for number in range(1, 11)]
    assert result["machine"]["date"] in table


def test_every_picture_and_file_that_a_page_names_is_there() -> None:
    named = set(re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT))
    assert named
    assert not [path for path in named if not (PAGES / path).exists()]
