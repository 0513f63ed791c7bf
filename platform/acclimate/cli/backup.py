"""`acclimate backup` and `acclimate restore`: everything of a service in one folder, and back."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, note, print_json, say, word
from acclimate.rollout import backup as backups
from acclimate.rollout.backup_series import back_up_into
from acclimate.rollout.settings import ServiceSettings


@click.command()
@click.argument("folder", type=LocalPath())
@click.option("--home", type=LocalPath(), help="The service's folder.")
@click.option("--database-url", help="The service's database [default: SQLite in --home].")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    help="For a schedule: write to FOLDER/TIME, compare it, and delete all but the newest KEEP there.",
)
@json_option
def backup(
    folder: Path, home: Path | None, database_url: str | None, keep: int | None, as_json: bool
) -> None:
    """Write database, key, repository and MLflow's embedded store to FOLDER, while the service goes on.

    The folder holds the service's private key and the hashes of its tokens: keep it as you keep those.
    """
    settings = ServiceSettings.from_environment(home=home, database_url=database_url)
    if keep is None:
        written = backups.back_up(settings, folder.absolute(), time.time(), _progress)
    else:
        series = back_up_into(settings, folder.absolute(), time.time(), keep, _progress)
        written, folder = series.backup, series.folder
        if not as_json and series.deleted:
            say(f"deleted: {', '.join(series.deleted)}")
    if as_json:
        print_json(asdict(written))
        return
    say(f"{folder}: {_size(written)}, each file with its hash")
    for part, place in written.left_out.items():
        warning = f"not in it: {part}, which lies at {place}: save that by itself"
        note(warning, "yellow")
    next_step(f"acclimate restore {word(folder)} --home /tmp/restored --dry-run", "compare every byte")


@click.command()
@click.argument("folder", type=LocalPath(exists=True, file_okay=False))
@click.option("--home", type=LocalPath(), help="The folder to restore to.")
@click.option("--database-url", help="The empty database to restore to [default: SQLite in --home].")
@click.option("--dry-run", is_flag=True, help="Only compare every byte of the backup.")
@json_option
def restore(folder: Path, home: Path | None, database_url: str | None, dry_run: bool, as_json: bool) -> None:
    """Make an installation from the backup in FOLDER, in a home and a database that are empty.

    Run it again if it was interrupted. The service must not run on them yet.
    """
    settings = ServiceSettings.from_environment(home=home, database_url=database_url)
    found = backups.verify(folder) if dry_run else backups.restore(folder, settings, _progress)
    if as_json:
        print_json(asdict(found))
        return
    state = "is whole" if dry_run else f"is restored to {settings.home}"
    say(f"{folder} {state}: {_size(found)}")
    if not dry_run:
        next_step(
            f"acclimate serve --home {word(settings.home)}", "start the service, then `acclimate fleet list`"
        )


def _size(one: backups.Backup) -> str:
    return f"{sum(one.rows.values()):,} rows in {len(one.rows)} tables, {len(one.files):,} files"


def _progress(step: str) -> None:
    note(f"  {step} …", "dim")
