"""The pages that nobody logs in to, built and in real Chromium: the documentation and the demo's report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import Markup
from playwright.sync_api import Browser

from acclimate.demo.chapters import Chapter
from acclimate.demo.page import page as report_page
from acclimate.rollout.console.charts import Mark, Point, Series, line_chart
from acclimate.rollout.console.pictures import Picture
from tests.support.browser import chromium, complaints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DOCS = Path(__file__).parents[3] / "docs"
SHOWN = [("light", 1280), ("dark", 390)]
PAGES = ["index", "tutorials/train", "reference/settings", "fields/wearables", "search"]  # one of each kind


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The pages as `make docs` builds them: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-E", "--keep-going", "-d", str(folder / "trees")]
    built = subprocess.run([*command, str(DOCS), str(folder / "html")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report with every kind of thing a chapter can hold, and pictures of one name in two of them."""
    lines = [Series("now", "effect", [Point(0, 60), Point(9, 97)]), Series("was", "control", [Point(0, 50)])]
    marks = [Mark(1, "a change with a long name"), Mark(9, "the end")]
    drawn = line_chart("Accuracy", "%", lines, axis="count", marks=marks)
    rows = [[f"device-{number:04d}-of-a-long-name", "97.1", "50.2"] for number in range(3)]
    names = [("effect", "share of examples predicted rightly"), ("control", "before")]
    picture = Picture("Accuracy, %", "What it says.", drawn, names, ["Device", "Now", "Before"], rows)
    figures = (("devices, all on a loadable version", "60 of 60"), ("harmful version", "rolled back, wave 1"))
    both = (picture, replace(picture, title="Loss"))
    chapters = [Chapter(f"Part {one}", ("Text.",), figures, both, Markup()) for one in (1, 2)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(["It began."], figures, picture, chapters, [("MLflow", "http://localhost")]))
    return path


def test_the_pages_build_without_a_warning_and_can_be_searched(site):
    assert '"uptan":' in (site / "searchindex.js").read_text()
    assert "training.meta_batch" in (site / "reference" / "recipe.html").read_text()


@pytest.mark.parametrize(("scheme", "width"), SHOWN, ids=str)
def test_the_documentation_is_accessible_and_fits(browser, site, scheme, width):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    found = {}
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        found[name] = complaints(page)
    assert {name: said for name, said in found.items() if said} == {}


def test_no_page_is_wider_than_a_telephone(browser, site):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    wide = {}
    for path in site.rglob("*.html"):
        page.goto(path.as_uri())
        wide[str(path.relative_to(site))] = page.evaluate("document.documentElement.scrollWidth")
    assert len(wide) > 50
    assert {name: width for name, width in wide.items() if width > 390} == {}


@pytest.mark.parametrize(("scheme", "width"), SHOWN, ids=str)
def test_the_demos_report_is_accessible_and_fits(browser, report, scheme, width):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    page.goto(report.as_uri())
    assert complaints(page) == []
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    assert complaints(page) == []
