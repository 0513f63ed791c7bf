"""How commands talk: tables for people, JSON for scripts, and the sensible next step."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table
from rich.text import Text

from acclimate.finite import finite_or_none

# What is piped is never broken into lines; a process may have no standard output at all.
out = Console(soft_wrap=sys.stdout is None or not sys.stdout.isatty())
err = Console(stderr=True)


def say(line: object, style: str | None = None, end: str = "\n") -> None:
    """Print a line as it is: nothing in it is markup or coloured, and nothing is broken or cut."""
    out.print(line, style=style, end=end, markup=False, highlight=False, soft_wrap=True)


def note(line: object, style: str | None = None, end: str = "\n") -> None:
    """`say` on standard error, out of scripts' way."""
    err.print(line, style=style, end=end, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output, alone, so that a script can read it: a figure that overflowed
    is null."""
    print(json.dumps(finite_or_none(value), indent=2, default=str, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table; numbers are right-aligned, and nothing is ever cut.

    At a terminal long cells fold; elsewhere each row is one plain line.
    """
    numeric = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        for index in range(len(columns))
    ]
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        say(title)
        print(*_plain([list(columns), *cells], numeric), sep="\n")
        return
    table = Table(title=Text(title), title_justify="left")
    for column, right in zip(columns, numeric, strict=True):
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    out.print(table)


def _plain(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def say_done(message: str, as_json: bool, **fields: Any) -> None:
    """Say what was done; for scripts, the same as JSON."""
    if as_json:
        print_json(fields)
    else:
        say(message)


def print_fields(title: str, fields: Mapping[str, object]) -> None:
    """Print one thing's fields, a line each."""
    say(title, "bold")
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        say(f"  {name:<{width}}  {value}")


def word(value: object) -> str:
    """A path or another value as one word of a command that a person copies."""
    return shlex.quote(str(value))


def next_step(command: str, why: str, repeat: Sequence[str] = ()) -> None:
    """Suggest the command a person most likely wants now; on standard error, out of scripts' way.

    Args:
        repeat: options of the running command that the next one needs as well, where a person gave them.
    """
    command += repeated(repeat)
    note(f"next: {command}", "cyan", end="")
    note(f"  # {why}", "dim")


def repeated(names: Sequence[str]) -> str:
    """The options as they were given, with a blank before each; those of the environment hold for the next
    command anyway."""
    context = click.get_current_context(silent=True)
    words: list[str] = []
    if context is None:
        return ""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in names or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value, option = context.params[name], parameter.opts[-1]
        for each in value if parameter.multiple else (value,):
            given = each if isinstance(each, tuple) else (each,)  # an option may take several values
            words += [option] if each is True else [option, *map(str, given)]
    return "".join(f" {shlex.quote(word)}" for word in words)
