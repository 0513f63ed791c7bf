"""Debian's Chromium for the tests of pages, and what every page has to keep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Started, and ended with the block."""
    path = shutil.which("chromium")
    assert path, "Chromium is not installed: run make system-packages"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield launched
        launched.close()


def complaints(page: Page) -> list[str]:
    """What axe finds against WCAG AA and good practice, and whether the page is wider than its window."""
    found = Axe().run(page, options={"runOnly": list(RULES)})["violations"]
    said = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return [*said, f"{width} pixels wide in a window of {window}"] if width > window else said
