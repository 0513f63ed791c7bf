"""`acclimate data`: build task pools from recordings, and see what is wrong with them first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from acclimate.cli.bars import progress_bars
from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say, word
from acclimate.documents import mapping_in, value_of
from acclimate.errors import DataError
from acclimate.files import write_whole
from acclimate.initialization import Missing
from acclimate.tasks import DATASETS, EpisodePlan, Sinusoids, TaskPool, open_tasks, report_on
from acclimate.tasks.episodes.split import split_tasks
from acclimate.tasks.pool.stored import is_url
from acclimate.tasks.report import DataReport
from acclimate.tasks.report.findings import Finding
from acclimate.tasks.report.page import report_page
from acclimate.training.fan_out import fan_out
from acclimate.training.recipe import EpisodesSection
from acclimate.training.recipe_file import load_recipe, shipped_recipes

FILE = LocalPath(exists=True, dir_okay=False)
PAGE = LocalPath(dir_okay=False)
FOLDER = LocalPath(file_okay=False)


@click.group()
def data() -> None:
    """Build task pools from recordings, and see what is wrong with them first.

    SOURCE is a named data set (`acclimate data list`), the folder or URL of a pool, Parquet or CSV (a file,
    folder, pattern or URL: s3://, gs://, https://, ...) whose columns --recordings declares, or a recipe,
    whose `data` section counts.
    """


def source_options(command: Any) -> Any:
    """What every command that takes a SOURCE takes with it."""
    decorators = (
        click.argument("source"),
        click.option(
            "-o",
            "--option",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="Option of a named data set, e.g. window=128; may be repeated.",
        ),
        click.option("--recordings", type=FILE, help="YAML that declares what the columns of Parquet mean."),
        click.option(
            "--data-dir",
            type=FOLDER,
            help="Folder with the files of named data sets; default: ACCLIMATE_DATA_DIR, else a download.",
        ),
        json_option,
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@data.command("list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List the named data sets and their options."""
    if as_json:
        print_json(
            {
                name: {"summary": one.summary, "terms": one.terms, "options": one.options}
                for name, one in DATASETS.items()
            }
        )
        return
    rows = [
        (name, one.summary, ", ".join(f"{key}={value}" for key, value in one.options.items()), one.terms)
        for name, one in DATASETS.items()
    ]
    print_table("Named data sets", ("name", "what", "options", "terms"), rows)
    next_step("acclimate data report watch", "see what a data set holds")


@data.command()
@source_options
@click.option(
    "--pool",
    metavar="PLACE",
    help="Where to build the pool: a folder for Parquet, or a URL in an object store, to be read from there "
    "by range; default: in ACCLIMATE_HOME.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Ray workers that build shards of a pool at a URL side by side; 0 builds them here.",
)
@click.option("--address", metavar="ADDRESS", help="Ray cluster of those workers; default: on this machine.")
def build(
    source: str,
    options: tuple[str, ...],
    recordings: Path | None,
    data_dir: Path | None,
    as_json: bool,
    pool: str | None,
    workers: int,
    address: str | None,
) -> None:
    """Build the task pool of SOURCE once; later it opens at once, however large it is.

    At a URL it is built in shards, each small enough for a node's disk; what was built before an interruption
    is not built again.
    """
    named = name_tasks(source, options, recordings)
    if (workers or address) and not (pool and is_url(pool)):
        raise DataError("--workers and --address build a pool in an object store: give its URL as --pool")
    run = partial(fan_out, workers=workers, address=address, should_stop=lambda: False)
    with progress_bars() as progress:
        tasks = open_tasks(**named.data, data_dir=data_dir, pool=pool, progress=progress, run=run)
    built = _recorded(tasks, source)
    fields = {
        "pool": str(built.path),
        "tasks": len(built.task_ids),
        "groups": len(set(built.groups)),
        "rows": int(built.rows[-1]),
        "examples": int(built.cells[-1]),
        "input_shape": list(built.input_shape),
        "labels": list(built.schema.labels),
        "targets": list(built.schema.targets),
        "content_hash": built.info.content_hash,
    }
    if as_json:
        print_json(fields)
        return
    print_fields(f"Task pool of {source}", {name: value for name, value in fields.items() if value})
    next_step(f"acclimate data report {word(built.path)}", "look for defects before training")


@data.command()
@source_options
@click.option("--shots", type=click.IntRange(1), help="Support examples of a class, or in all; default: 5.")
@click.option("--query-shots", type=click.IntRange(1), help="Query examples, counted likewise; default: 15.")
@click.option("--order", type=click.Choice(["time", "random"]), help="Of support and query; default: time.")
@click.option(
    "--page",
    type=LocalPath(dir_okay=False),
    help="Write it as an HTML page with pictures too.",
)
def report(
    source: str,
    options: tuple[str, ...],
    recordings: Path | None,
    data_dir: Path | None,
    as_json: bool,
    page: Path | None,
    **plan: Any,
) -> None:
    """Report on SOURCE: what it holds, what is wrong with it, and the remedy for each.

    Episodes are cut as the recipe says, if SOURCE is one. Exits with 1 if a finding would stop training.
    """
    named = name_tasks(source, options, recordings)
    chosen = {
        "shots": 5,
        **named.episodes,
        **{key: value for key, value in plan.items() if value is not None},
    }
    declared = named.data["recordings"].get("missing", "error") if named.data["recordings"] else None
    with progress_bars() as progress:
        lenient: Missing | None = "drop" if declared == "error" else None  # do not stop at what is to be told
        tasks = open_tasks(**named.data, data_dir=data_dir, missing=lenient, progress=progress)
    pool = _recorded(tasks, source)
    found = report_on(pool, _plan(chosen), missing=declared)
    found.findings[:0] = _no_split(pool, named.split) if named.is_recipe else ()
    if page is not None:
        write_whole(page, report_page(source, pool, found))
    if as_json:
        print_json(found.as_dict())
    else:
        _print(source, found)
    if any(finding.severity == "error" for finding in found.findings):
        click.get_current_context().exit(1)
    if not as_json:
        recipe = source if named.is_recipe else "RECIPE.yaml"
        next_step(f"acclimate train {recipe}", "meta-train on it")


def _print(source: str, found: DataReport) -> None:
    examples = sorted(found.examples.values())
    print_fields(
        f"Data report of {source}",
        {
            "rows": f"{found.rows:,}",
            "tasks": f"{found.tasks} of {found.groups} owner(s)",
            "examples": f"{sum(examples):,}; a task has {examples[0]} to {examples[-1]}, "
            f"half have {examples[len(examples) // 2]} or more",
            "input": " x ".join(map(str, found.input_shape)),
            "missing": f"{sum(found.missing.values()):,} value(s)",
        },
    )
    if found.intake:
        say("On the way in", "bold")
        for line in found.intake:
            say(f"  {line}")
    if found.labels:
        print_table("Labels", ("label", "examples"), list(found.labels.items()))
    if not found.findings:
        say("No defect found.", "green")
        return
    rows = [(finding.severity, finding.what, finding.remedy) for finding in found.findings]
    print_table("Findings", ("severity", "what", "remedy"), rows)


def _no_split(pool: TaskPool, split: Mapping[str, Any]) -> Iterator[Finding]:
    """Why training could not set devices aside as the recipe says."""
    try:
        split_tasks(pool, **split)
    except DataError as error:
        what, _, remedy = str(error).rpartition(": ")
        yield Finding("error", what, remedy)


def _recorded(tasks: TaskPool | Sinusoids, source: str) -> TaskPool:
    if isinstance(tasks, Sinusoids):
        raise DataError(f"{source!r} is generated: it has no pool and nothing to report on")
    return tasks


@dataclass(frozen=True)
class Named:
    """What a person named: arguments of `open_tasks`; of a recipe also those of its episodes and split."""

    data: dict[str, Any]
    episodes: dict[str, Any]
    is_recipe: bool
    split: dict[str, Any] = field(default_factory=dict)


def name_tasks(source: str, options: tuple[str, ...], recordings: Path | None) -> Named:
    """What `source` is: a recipe, or a data set, pool or Parquet with its declaration in `recordings`."""
    given = dict(map(_parse_option, options))
    recipe = _recipe(source)
    if recipe is None:
        declared = mapping_in(recordings, DataError) if recordings else {}
        described = declared.get("recordings", declared)
        return Named({"source": source, "options": given, "recordings": described}, {}, is_recipe=False)
    section = recipe.get("data")
    if not isinstance(section, dict) or "source" not in section:
        raise DataError(f"{source} has no section `data` with a `source`: it is not a recipe")
    described = {
        "source": str(section["source"]),
        "options": {**(section.get("options") or {}), **given},
        "recordings": section.get("recordings") or {},
    }
    held_out = ("test", "validation", "test_groups", "validation_groups")
    split = {key: section[key] for key in held_out if key in section} | {"seed": section.get("split_seed", 0)}
    return Named(described, recipe.get("episodes") or {}, is_recipe=True, split=split)


def _recipe(source: str) -> dict[str, Any] | None:
    """The recipe in the file `source` or shipped as it; None if it is neither.

    A shipped recipe comes before a data set of its name, so that a report is on what training would see.
    """
    if Path(source).suffix in (".yaml", ".yml"):
        return mapping_in(Path(source), DataError)
    if source in shipped_recipes():
        return load_recipe(source).model_dump()
    return None


def _plan(chosen: dict[str, Any]) -> EpisodePlan:
    """As evaluation cuts them."""
    try:
        return EpisodesSection.model_validate(chosen).plan()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"section `episodes` of the recipe: {where}: {first['msg']}") from error


def _parse_option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"option {text!r} has no value: write {text}=VALUE")
    return key, value_of(value, f"option {text!r}", DataError)
