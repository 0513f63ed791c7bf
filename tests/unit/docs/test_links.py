"""Every link of the README, the docs and other pages leads to a file and a heading that are there.

Links to other hosts need a network: `make linkcheck`.
"""

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

from docs import reference_pages

ROOT = Path(__file__).parents[3]
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False}).use(anchors_plugin, max_level=6)
GENERATED = {ROOT / "docs" / "reference" / f"{name}.md" for name in reference_pages.PAGES}
TOCTREE = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


PAGES = tracked("*.md")


@cache
def headings_and_links(page: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    tokens = MARKDOWN.parse(page.read_text())
    headings = {str(token.attrs["id"]) for token in tokens if token.type == "heading_open"}
    inner = [child for token in tokens for child in token.children or ()]
    links = [child.attrGet("href" if child.type == "link_open" else "src") for child in inner]
    return frozenset(headings), tuple(str(link) for link in links if link)


def broken(page: Path, link: str) -> str:
    """What is wrong with a link; empty if nothing is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "" if parts.scheme == "https" else f"{link} is not https"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target in GENERATED:
        return ""
    if not target.exists():
        return f"{link}: there is no {target}"
    if parts.fragment and parts.fragment not in headings_and_links(target)[0]:
        return f"{link}: {target.name} has no heading #{parts.fragment}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert [wrong for link in headings_and_links(page)[1] if (wrong := broken(page, link))] == []


def test_a_broken_link_is_noticed():
    page = ROOT / "README.md"
    assert broken(page, "docs/index.md#where-to-start") == ""
    for link in ("docs/nowhere.md", "docs/index.md#nowhere", "http://example.org"):
        assert broken(page, link)


def test_every_page_of_the_docs_is_in_its_table_of_contents():
    listed: set[Path] = set()
    for page in tracked("docs/*.md"):
        for block in TOCTREE.findall(page.read_text()):
            for entry in block.splitlines():
                listed.update(page.parent.glob(f"{entry}.md") if entry and entry[0] != ":" else ())
    assert set(tracked("docs/*.md")) - listed == {ROOT / "docs" / "index.md"}


def test_pages_that_code_names_exist():
    sources = tracked("platform/*", "device_sdk/*", "pipelines/*", "helm/*")
    named = {
        name
        for source in sources
        if source.suffix in (".py", ".yaml", ".html", ".txt", ".tpl", ".toml", ".sh", ".service")
        for name in re.findall(r"docs/[a-z0-9/_-]+\.md", source.read_text())
    }
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_picture_of_the_docs_is_shown():
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in headings_and_links(page)[1]
        if "images/" in link
    }
    assert set(tracked("docs/images/*")) - shown == set()


def test_tests_that_the_threat_model_names_exist():
    page = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
    row = re.compile(r"^\| .* \| (?:`(tests/\S+\.py)`|the same file): (.*) \|$", re.MULTILINE)
    file = ""
    rows = row.findall(page)
    assert rows
    for named, tests in rows:
        file = named or file
        for test in re.findall(r"`(\w+)", tests):
            assert f"def test_{test}" in (ROOT / file).read_text(), f"{file}: {test}"
