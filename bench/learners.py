"""Learners and networks by `acclimate compare`: the tables of docs/how-to/choose-a-learner.md.

    python -m bench.learners [NAME ...] [--set KEY=VALUE] [--folds 5] [--workers 2]

Shipped recipes, everybody's settings chosen on the validation devices of each fold. Finished jobs are kept
under ACCLIMATE_HOME: what was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import time

from acclimate.evaluation import Compared, compared_table
from acclimate.home import made_home
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow import compare
from bench.fields import DOCS, insert, machine

PAGE = DOCS / "how-to" / "choose-a-learner.md"
PLACES = tuple(re.findall(r"<!-- (\S+): generated -->", PAGE.read_text("utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=PLACES, metavar="NAME", help="shipped recipes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--learner", action="append", default=[], dest="learners")
    parser.add_argument("--model", action="append", default=[], dest="models")
    parser.add_argument("--workers", type=int, default=0, help="0: in this process")
    arguments = parser.parse_args()
    for name in set(arguments.names) - set(PLACES):  # said before hours of training, not after
        parser.error(f"{PAGE} has no place for the table of {name}: there is one for {', '.join(PLACES)}")
    for name in arguments.names:
        began = time.process_time()
        found = compare(
            load_recipe(name, tuple(arguments.changes)),
            made_home() / "compare" / name / "bench",
            folds=arguments.folds,
            learners=arguments.learners,
            models=arguments.models,
            workers=arguments.workers,
            on_job=lambda what, done, total: print(f"{done} of {total}: {what}", flush=True),
        )
        assert found is not None  # nobody stops it
        text = table(name, found.found, arguments, time.process_time() - began)
        print(f"\n{text}\n", flush=True)
        insert(PAGE, name, text)


def table(name: str, found: Compared, arguments: argparse.Namespace, spent: float) -> str:
    """Markdown: every candidate and rival, best first, the verdict, and how it was measured."""
    columns, rows = compared_table(found)
    lines = [
        f"`{name}`: {found.shots} shots, {found.devices} devices, each held out once",
        "",
        f"| {' | '.join(columns)} |",
        f"| --- |{' --: |' * (len(columns) - 1)}",
        *(f"| {' | '.join(cell.replace(' *', ' **(recommended)**') for cell in row)} |" for row in rows),
        "",
        f"{found.verdict.sentence}",
        "",
        _provenance(name, arguments, spent),
    ]
    return "\n".join(lines)


def _provenance(name: str, arguments: argparse.Namespace, spent: float) -> str:
    about = machine()
    given = [f"--{option} {value}" for option, value in _given(arguments)]
    cost = "" if arguments.workers else f", {spent:.0f} processor seconds in all"
    return (
        f"_Measured {about['date']} on {about['cores']} cores shared with other work (load {about['load']})"
        f"{cost}. `{' '.join(['acclimate compare', name, *given])}` prints it, `python -m bench.learners` "
        "puts it here._"
    )


def _given(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    options = [("set", arguments.changes), ("learner", arguments.learners), ("model", arguments.models)]
    found = [(option, value) for option, values in options for value in values]
    return found if arguments.folds == 5 else [("folds", arguments.folds), *found]


if __name__ == "__main__":
    main()
