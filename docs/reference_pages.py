"""The reference pages, from the code itself: `python -m docs.reference_pages DIR` writes them, and with
--chart-readme in DIR's place the chart's README.

Each page is rows with a description; `rows_of` gives them as data, so that a test finds what is undocumented.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docs import reference_rows as read
from docs.reference_rows import CHART, Row


class Page(NamedTuple):
    """A page's title, its opening paragraph, its columns' names and the function that reads its rows."""

    title: str
    opening: str
    columns: tuple[str, str, str]
    rows: Any


PAGES: Mapping[str, Page] = {
    "recipe": Page(
        "Recipe keys",
        "A recipe is a YAML file; `acclimate init DATA.parquet` writes a first one, and `--set KEY=VALUE` "
        "changes a key for one run. An unknown key is an error.",
        ("key", "default", "meaning"),
        read.recipe_keys,
    ),
    "scenario": Page(
        "Scenario keys",
        "A scenario is a YAML file for `acclimate simulate`; `--set KEY=VALUE` changes a key for one run. "
        "Durations are seconds, or text such as `90s`, `10min`, `6h` and `7d`; shares are parts of the fleet "
        "from 0 to 1; `drifts`, `faults` and `rollouts` are lists. An unknown key is an error.",
        ("key", "default", "meaning"),
        read.scenario_keys,
    ),
    "cli": Page(
        "Commands",
        "Every command takes `--help`. Exit codes: 0 done, 1 looked and found a defect, 2 a mistake in "
        "what was asked, 130 stopped by Ctrl-C.",
        ("option", "value", "meaning"),
        read.commands,
    ),
    "http": Page(
        "HTTP API",
        "The operator side, under `/api/v1`. Every call carries `Authorization: Bearer TOKEN`; errors are "
        "problem details (RFC 9457). A running service gives the whole document at `/api/openapi.json`.",
        ("operation", "query", "meaning"),
        read.http_api,
    ),
    "settings": Page(
        "Settings of the service",
        "`acclimate serve` reads these from its environment, once, at start; options of the command win. In "
        "the chart they are `rollout.settings.NAME`. Durations are seconds, sizes are bytes.",
        ("variable", "default", "meaning"),
        read.settings,
    ),
    "metrics": Page(
        "Metrics",
        "The rollout service's metrics at `/metrics`, in Prometheus' format.",
        ("metric", "type", "meaning"),
        read.metrics,
    ),
    "chart": Page(
        "Chart values",
        "Values of the Helm chart in `helm/acclimate`.",
        ("value", "default", "meaning"),
        read.chart_values,
    ),
    "device": Page(
        "Device SDK",
        "The Python package `acclimate_device`. The how-to shows it at work: "
        "[Write a device application](../how-to/device-application.md).",
        ("name", "form", "meaning"),
        read.device_sdk,
    ),
    "protocol": Page(
        "Manifest and messages",
        "What a bundle's `manifest.json` holds, and what device and service say to one another. Their JSON "
        "schemas lie in `device_sdk/acclimate_device/protocol/schemas/`.",
        ("field", "default", "meaning"),
        read.messages,
    ),
}


def rows_of(page: str) -> list[Row]:
    """The rows of one page."""
    return list(PAGES[page].rows())


def write(folder: Path) -> None:
    """Write every page, and only where it changed, so that a second build is quick."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", _text(page, rows_of(name))
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text)


def chart_readme() -> str:
    """The chart's README: how to install it, what it runs, what to mind, and every value."""
    import yaml

    chart = yaml.safe_load((CHART.parent / "Chart.yaml").read_text("utf-8"))
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    needs = [f"- {one.strip()}" for one in chart["annotations"]["acclimate/needs"].split(";")]
    lines = [
        "<!-- Written by `make chart-readme`. -->",
        "",
        f"# {chart['name']}",
        "",
        chart["description"],
        "",
    ]
    lines += [(CHART.parent / "files" / "introduction.md").read_text("utf-8").strip(), ""]
    lines += ["## What it does not install", "", *needs, "", "## Images", ""]
    lines += ["For a cluster without a way out, copy these and set `images.registry`:", ""]
    lines += [f"- `{one['image']}`: {one['name']}" for one in images]
    lines += ["", "## Values", "", "| value | default | meaning |", "| --- | --- | --- |"]
    for row in read.chart_values():
        lines.append(f"| {_code(row.name)} | {_code(row.form)} | {_prose(row.meaning)} |")
    return "\n".join(lines) + "\n"


def _text(page: Page, rows: list[Row]) -> str:
    lines = [f"# {page.title}", "", page.opening, ""]
    section = None
    for row in rows:
        if row.section != section or section is None:
            section = row.section
            lines += ["", f"## {section}", ""] if section else [""]
            lines += [f"| {' | '.join(page.columns)} |", "| --- | --- | --- |"]
        lines.append(f"| {_code(row.name)} | {_code(row.form)} | {_prose(row.meaning)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """A cell in code style; nothing for nothing."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("`", "")
    return f"`{flat}`" if flat else ""


def _prose(text: str) -> str:
    """A cell of plain text in which only backticks mean something."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"([<*_\[\]{}$~#])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    if sys.argv[1] == "--chart-readme":
        (CHART.parent / "README.md").write_text(chart_readme())
    else:
        write(Path(sys.argv[1]))
