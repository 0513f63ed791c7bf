"""The root of `acclimate`: the command groups and the one place where errors meet a person.

A command's module is imported only when the command is used, so `--help` is quick and an installation
without torch, Ray or the service still runs what it has.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
from dataclasses import dataclass

import click

import acclimate
from acclimate import logs, traces
from acclimate.cli.output import note
from acclimate.cli.surroundings import put_right
from acclimate.errors import MissingExtraError
from acclimate.mishaps import as_user_error

COMPLETING = "_ACCLIMATE_COMPLETE"  # by which a shell asks for words that fit
# Allocations between two looks for garbage. Importing a command's libraries makes a million objects that
# stay, and at Python's 700 looking through them anew was a quarter of its start.
GARBAGE_AFTER = 10_000
STOPPED = 130  # what a shell reports for Ctrl-C
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LazyCommand:
    """Where a command lives: `module:attribute`, the extra its imports need, and its line in the overview."""

    target: str
    extra: str
    summary: str


COMMANDS: dict[str, LazyCommand] = {
    "doctor": LazyCommand(
        "acclimate.cli.doctor:doctor", "train", "Look at this installation, say what to mend."
    ),
    "new": LazyCommand("acclimate.cli.new:new", "train", "Make a folder with data, recipe and application."),
    "init": LazyCommand("acclimate.cli.init:init", "train", "Write a recipe from a look at your data."),
    "serve": LazyCommand("acclimate.cli.serve:serve", "rollout", "Serve devices, operators and the console."),
    "backup": LazyCommand(
        "acclimate.cli.backup:backup", "rollout", "Save a service's database, key and bundles to a folder."
    ),
    "restore": LazyCommand("acclimate.cli.backup:restore", "rollout", "Make a service from a backup."),
    "bridge": LazyCommand("acclimate.cli.bridge:bridge", "mqtt", "Join an MQTT broker to a rollout service."),
    "login": LazyCommand("acclimate.cli.login:login", "rollout", "Sign in to a rollout service."),
    "token": LazyCommand("acclimate.cli.login:token", "rollout", "API tokens for operators and programs."),
    "fleet": LazyCommand("acclimate.cli.fleet:fleet", "rollout", "Fleets and what their devices run."),
    "device": LazyCommand("acclimate.cli.device:device", "rollout", "Devices, seen from the service."),
    "rollout": LazyCommand(
        "acclimate.cli.rollout:rollout", "rollout", "Ship a version in waves, gated on what devices achieve."
    ),
    "simulate": LazyCommand(
        "acclimate.cli.simulate:simulate", "rollout", "Run a whole fleet of the real SDK on one machine."
    ),
    "demo": LazyCommand("acclimate.cli.demo:demo", "train", "Show the main job on real data, end to end."),
    "data": LazyCommand("acclimate.cli.data:data", "train", "Build task pools, report on recordings."),
    "train": LazyCommand("acclimate.cli.train:train", "train", "Meta-train a recipe, evaluate, register."),
    "campaign": LazyCommand(
        "acclimate.cli.campaign:campaign", "train", "Learn together while data stay on devices."
    ),
    "tune": LazyCommand("acclimate.cli.tune:tune", "train", "Find the inner step size and steps."),
    "compare": LazyCommand(
        "acclimate.cli.compare:compare", "train", "Choose learner and network by evidence."
    ),
    "submit": LazyCommand("acclimate.cli.submit:submit", "train", "Train a recipe on a cluster."),
    "jobs": LazyCommand("acclimate.cli.jobs:jobs", "train", "List, read and stop jobs on a cluster."),
    "evaluate": LazyCommand("acclimate.cli.train:evaluate", "train", "Measure a version on held-out tasks."),
    "recipes": LazyCommand(
        "acclimate.cli.train:recipes", "train", "Shipped recipes, and what each key means."
    ),
    "runs": LazyCommand("acclimate.cli.registry:runs", "train", "List training runs."),
    "versions": LazyCommand("acclimate.cli.registry:versions", "train", "List versions, move aliases."),
    "ui": LazyCommand("acclimate.cli.registry:ui", "train", "Open MLflow's pages on the embedded store."),
    "export": LazyCommand(
        "acclimate.cli.export:export", "train", "Turn a version into a bundle for devices."
    ),
    "pipeline": LazyCommand(
        "acclimate.cli.pipeline:pipeline",
        "pipelines",
        "Retrain as a Kubeflow pipeline, here or on a cluster.",
    ),
    "repo": LazyCommand("acclimate.cli.repo:repo", "sign", "Sign bundles, keep the signatures fresh."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is run, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, attribute = lazy.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "acclimate":
                raise
            raise MissingExtraError(lazy.extra, error.name) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name) for name in COMMANDS},  # what a misspelt one is compared with
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(acclimate.__version__, prog_name="acclimate")
def cli() -> None:
    """Meta-train one initialization for a fleet, ship it safely, let every device adapt it."""


def main() -> None:
    """Run the command line and leave with its exit code.

    What a person can mend ends in one line and code 2, Ctrl-C in 130, as shells have it. Anything else is a
    defect of ours and keeps its stack trace.
    """
    sys.exit(_run())


def _run() -> int:
    try:
        gc.set_threshold(GARBAGE_AFTER)
        put_right()
        logs.configure_from_environment(quiet=True)
        traces.configure_from_environment("acclimate")
        code = cli(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        interrupted = isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)
        note("stopped" if interrupted else "nothing was done", "yellow")
        return STOPPED if interrupted else 1
    except Exception as error:
        if COMPLETING in os.environ:
            return 1  # whatever the shell got wrong, nothing may be printed where a person is writing
        told = as_user_error(error)
        if told is None:
            error.add_note("This is a defect of ours: please report it with `acclimate doctor --report`.")
            raise
        log.debug("failed", exc_info=error)
        note(f"error: {told}", "red")
        return 2


if __name__ == "__main__":
    main()
