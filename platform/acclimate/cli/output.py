"""How commands talk: tables for people, JSON for scripts, and the sensible next step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output, alone, so that a script can read it."""
    print(json.dumps(value, indent=2, default=str))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table; numbers are right-aligned."""
    table = Table(title=Text(title), title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left")
    for row in rows:  # as text: in markup, `[mm/s]` would vanish
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    out.print(table)


def print_fields(title: str, fields: Mapping[str, object]) -> None:
    """Print one thing's fields, a line each."""
    out.print(title, style="bold", markup=False)
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        out.print(f"  {name:<{width}}  {value}", markup=False, highlight=False, soft_wrap=True)


def next_step(command: str, why: str) -> None:
    """Suggest the command a person most likely wants now; on standard error, out of scripts' way."""
    err.print(f"next: {command}", style="cyan", markup=False, highlight=False, soft_wrap=True, end="")
    err.print(f"  # {why}", style="dim", markup=False, highlight=False, soft_wrap=True)
