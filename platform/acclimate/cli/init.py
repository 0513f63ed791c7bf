"""`acclimate init`: a first recipe from a look at one's own recordings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml

from acclimate.cli.bars import progress_bars
from acclimate.cli.options import json_option, output_option
from acclimate.cli.output import next_step, print_json, say, word
from acclimate.errors import DataError, RecipeError
from acclimate.evaluation.bodies import Body, choose_body, shorter_window
from acclimate.evaluation.report import ENOUGH_DEVICES
from acclimate.files import write_whole
from acclimate.tasks import TaskPool, open_tasks
from acclimate.tasks.guessing.guess import Guess, guess
from acclimate.tasks.pool.richness import richest_episode
from acclimate.tasks.report.findings import names
from acclimate.tasks.sources import from_files

_ENOUGH_TO_JUDGE = 22  # groups


@click.command()
@click.argument("data")
@output_option("The recipe [default: NAME.yaml].")
@click.option("--name", help="Of the registered model [default: the file's name].")
@click.option(
    "--kind",
    type=click.Choice(["classification", "regression", "forecasting", "anomaly"]),
    help="What is predicted: classes, a number from other columns, a column's future, or what is not normal.",
)
@click.option("--task", metavar="COLUMN", help="Names the device, person or site.")
@click.option("--group", metavar="COLUMN", help="Names who owns several tasks: held out together.")
@click.option("--time", metavar="COLUMN", help="Orders the rows of a task.")
@click.option("--recording", metavar="COLUMN", help="Names uninterrupted recordings.")
@click.option("--label", metavar="COLUMN", help="Holds classes to predict.")
@click.option("--target", metavar="COLUMN", help="Holds a number to predict, now or ahead.")
@click.option("--window", metavar="ROWS", help="Rows of one example, or a time such as 2h.")
@click.option("--horizon", metavar="ROWS", help="Rows to forecast, or a time such as 24h.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="HZ", help="Rows a second.")
@click.option(
    "--dates",
    type=click.Choice(["day first", "month first", "year first"]),
    help="What comes first in dates such as 5/6/2026, where no row shows it.",
)
@click.option("--wide", metavar="PATTERN", help="Columns that are a device each, such as home_*.")
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@json_option
def init(data: str, output: Path | None, name: str | None, force: bool, as_json: bool, **given: Any) -> None:
    """Write a commented recipe for DATA: Parquet or CSV, a file, folder, pattern or URL.

    Looks at a sample, guesses what each column means and says why, builds the task pool and fits
    the episodes to it. Asks nothing: name a column with an option where a guess is wrong.
    """
    given = {key: _rows(value) for key, value in given.items() if value is not None}
    _check_fit(given)
    name = name or re.sub(r"[^A-Za-z0-9]+", "-", Path(data.rstrip("/")).stem).strip("-") or "fleet"
    output = output or Path(f"{name}.yaml")
    if output.exists() and not force:
        raise RecipeError(f"{output} exists: give another --output, or --force to write over it")
    guessed = guess(from_files(data), given)
    pool = _pool(data, guessed)
    shorter = None if "window" in given else shorter_window(pool, HeldOut.of(len(set(pool.groups))).test)
    if shorter is not None:
        guessed = guessed.with_entry("window", *shorter)
        pool = _pool(data, guessed)
    shots, query = _own_windows(pool) if pool.schema.kind == "anomaly" else richest_episode(pool)
    held_out = HeldOut.of(len(set(pool.groups)))
    body = choose_body(pool, held_out.test)
    text = recipe_text(name, data, guessed, held_out, shots, query, body)
    write_whole(output, text)
    too_short = [name for at, name in enumerate(pool.task_ids) if not pool.examples_of(at)]
    if as_json:
        fields = {"recipe": str(output), "declaration": guessed.declaration, "reasons": guessed.reasons}
        fields |= {"model": {"name": body.name, "options": body.options, "reason": body.reason}}
        fields |= {"left_out": guessed.left_out, "too_short": too_short}
        print_json({**fields, "shots": shots, "query_shots": query})
        return
    say(f"wrote {output}; what was guessed, and why:", "bold")
    for key, value in guessed.declaration.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        say(f"  {key}: {shown}  ({guessed.reasons[key]})")
    for column, why in guessed.left_out.items():
        say(f"  left out: {column}  ({why})")
    say(f"  model: {body.name}  ({body.reason})")
    if too_short:
        say(
            f"  too short: {names(too_short)} have no whole example: training refuses that of more than a "
            "tenth of the tasks; leave their rows out of the data, or record more"
        )
    next_step(f"acclimate data report {word(output)}", "see what is wrong with the data before training")


def _pool(data: str, guessed: Guess) -> TaskPool:
    with progress_bars() as progress:
        pool = open_tasks(data, recordings=guessed.declaration, progress=progress)
    if not isinstance(pool, TaskPool):
        raise DataError(f"{data!r} is the name of a shipped data set: train it with `acclimate train {data}`")
    return pool


def _rows(value: Any) -> Any:
    """A number of rows as one; lengths of time stay text."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


def _check_fit(given: Mapping[str, Any]) -> None:
    kind = given.get("kind")
    if given.get("label") and given.get("target"):
        raise RecipeError("--label is for classes and --target for numbers: give one of them")
    for option, wanted in (("label", "classification"), ("horizon", "forecasting")):
        if option in given and kind not in (None, wanted):
            raise RecipeError(f"--{option} is for {wanted}, not for --kind {kind}: leave one of them out")
    if "target" in given and kind == "classification":
        raise RecipeError("--target is a number, not for --kind classification: name classes with --label")
    for option in ("window", "horizon"):
        if given.get(option) == 0:
            raise RecipeError(f"--{option} is 0: give at least 1 row")


@dataclass(frozen=True)
class HeldOut:
    """Whole groups set aside: to judge on, and to choose step sizes on."""

    groups: int
    test: int
    validation: int

    @staticmethod
    def of(groups: int) -> HeldOut:
        """A fifth to judge, a sixth to choose; of fewer than five none to choose.

        As many as a verdict takes judge, where they are not much more than a third.
        """
        test = max(1, round(0.2 * groups))
        if groups >= _ENOUGH_TO_JUDGE:
            test = max(test, ENOUGH_DEVICES)
        return HeldOut(groups, test, max(1, round(groups / 6)) if groups >= 5 else 0)

    @property
    def training(self) -> int:
        return self.groups - self.test - self.validation


def _own_windows(pool: TaskPool) -> tuple[int, int]:
    """Normal windows that a device learns from, a quarter of what it has and at most 500."""
    windows = [pool.examples_of(task) for task in range(len(pool.task_ids))]
    return max(1, min(500, int(np.median(windows)) // 4)), 15


def recipe_text(
    name: str, data: str, guessed: Guess, held_out: HeldOut, shots: int, query: int, body: Body
) -> str:
    """The recipe as YAML whose comments say what was guessed and what is worth changing."""
    training = held_out.training
    batch = min(16, max(1, training // 2 * 2))
    shard = max(1, batch // 2)  # one for each of a recipe's two workers: every further one costs a call
    each = {"classification": " of each class", "anomaly": ", normal ones,"}.get(
        guessed.declaration["kind"], ""
    )
    lines = [
        f"# Written by `acclimate init {data}`: guesses, to be read. Every key: `acclimate recipes --keys`.",
        f"name: {name}",
        "data:",
        f"  source: {_value(data)}",
        "  recordings:",
        *(f"    {key}: {_value(value)}{_why(guessed, key)}" for key, value in guessed.declaration.items()),
        *(f"    # left out: {_line(column)} {_line(why)}" for column, why in guessed.left_out.items()),
        f"  test: {held_out.test}  # of {held_out.groups}: whole tasks that training never sees, to judge on",
        f"  validation: {held_out.validation}  # further ones, on which step sizes are chosen",
        "episodes:",
        f"  shots: {shots}  # examples{each} a device adapts on",
        f"  query_shots: {query}  # later examples it is judged on",
        "model:",
        f"  name: {body.name}  # {body.reason}",
        *([f"  options: {_value(body.options)}"] if body.options else []),
        *_learner(guessed, body, held_out),
        f"  meta_batch: {batch}  # tasks a step",
        f"  shard: {shard}  # tasks a worker computes at a time",
        "evaluation:",
        f"  shots: {_value(_measured(guessed.declaration['kind'], shots))}  # first labels, and all",
    ]
    return "\n".join(lines) + "\n"


def _measured(kind: str, shots: int) -> list[int]:
    """Supports the report is of: what a device adapts on among them, for the verdict is at that."""
    if kind == "anomaly":
        return [shots]
    return sorted({min(1 if kind == "classification" else 5, shots), shots})


def _learner(guessed: Guess, body: Body, held_out: HeldOut) -> tuple[str, ...]:
    if guessed.declaration["kind"] == "anomaly":
        return _ANOMALY_LEARNER
    if body.name == "forecast":
        return _FORECAST_LEARNER
    return (*_LEARNER, *(_UNTIL_BEST if held_out.validation else _SHORT))


_ANOMALY_LEARNER = (
    "learner: {algorithm: closed-form}",
    "anomaly:",
    "  false_alarms: 30  # of a device in a month: the threshold keeps this budget on healthy devices",
    "training:",
)
_LEARNER = (
    "learner:",
    "  algorithm: closed-form  # solves the head; or meta-sgd, reptile: docs/how-to/choose-a-learner.md",
    "training:",
)
_UNTIL_BEST = (
    "  optimizer: {name: adam, lr: 0.003}",
    "  average: 0.98  # of the weights over the last hundred steps",
    "  steps: 3000  # at most: training ends where the validation devices saw nothing better in ten looks",
    "  validate_every: 25  # steps between two looks",
)
_SHORT = (  # nobody is set aside who could tell when to end
    "  optimizer: {name: adam, lr: 0.003, final_lr: 0.0}",
    "  steps: 300  # a first look; look at the curve in MLflow, then raise it",
)
_FORECAST_LEARNER = (
    "learner:",
    "  algorithm: joint  # one model for all; a device adapts its head where that pays",
    "  trainable: head",
    "  inner_lr: 0.01",
    "  loss: mae  # counted in the units of each window",
    "training:",
    "  optimizer: {name: adamw, lr: 0.003, final_lr: 0.0, warmup: 0.1, weight_decay: 0.0001, clip_norm: 1.0}",
    "  average: 0.995  # of the weights over the last few hundred steps",
    "  steps: 1000",
)


def _value(value: object) -> str:
    """On one line, letters of every alphabet as they are."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n...\n").strip()


def _line(text: str) -> str:
    """Fit for a comment."""
    return " ".join(str(text).split())


def _why(guessed: Guess, key: str) -> str:
    reason = guessed.reasons[key]
    return f"  # {_line(reason)}" if reason else ""
