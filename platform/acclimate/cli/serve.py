"""`acclimate serve`: the rollout service, on embedded defaults in one command."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, note, print_json, say, say_done
from acclimate.errors import MissingExtraError
from acclimate.rollout.field_result import ModelRegistry
from acclimate.rollout.releases import AliasOf
from acclimate.rollout.server import Started, prepare
from acclimate.rollout.server import serve as run
from acclimate.rollout.settings import ServiceSettings


@click.command()
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on [default: 8080].")
@click.option("--home", type=LocalPath(), help="Folder of all files [default: ./acclimate-home].")
@click.option("--database-url", help="sqlite:///… or postgresql://… [default: SQLite in --home].")
@click.option("--tls-certificate", help="PEM file with the certificate chain; serves HTTPS.")
@click.option("--tls-key", help="PEM file with the certificate's private key.")
@click.option("--public-url", help="Address that devices and browsers use, where a proxy stands before.")
@click.option("--registry-uri", help="MLflow tracking URI, for NAME@ALIAS and for results from the field.")
@click.option("--migrate-only", is_flag=True, help="Bring the database up to date and stop.")
@json_option
def serve(migrate_only: bool, home: Path | None, as_json: bool, **options: str | int | None) -> None:
    """Serve devices, operators and the console.

    Without options: SQLite, keys and bundles under ./acclimate-home, on http://127.0.0.1:8080. Every setting
    can be given as an environment variable too: ACCLIMATE_ and its name in capitals.
    """
    absolute = None if home is None else home.absolute()
    settings = ServiceSettings.from_environment(os.environ, home=absolute, **options)
    if migrate_only:
        store = prepare(settings)
        store.close()
        say_done("database is up to date", as_json, database="up to date")
        return
    registry, alias_of = _registry(settings.registry_uri)
    run(settings, _tell_json if as_json else _tell, registry, alias_of)


def _registry(uri: str) -> tuple[ModelRegistry | None, AliasOf | None]:
    if not uri:
        return None, None
    try:
        from acclimate.registry import Registry
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", error.name or "mlflow") from error
    registry = Registry.open(uri)
    return registry, lambda name, alias: registry.version(name, alias).version


def _tell_json(started: Started) -> None:
    print_json(asdict(started))
    sys.stdout.flush()  # it stays open: whoever reads along must not wait for its end


def _tell(started: Started) -> None:
    say(f"Acclimate rollout service on {started.url}", "bold")
    say(f"  console   {started.url}/console/")
    say(f"  REST API  {started.url}/api/openapi.json")
    if started.exposed_in_clear:
        warning = "warning: other hosts can reach this service and tokens cross the network readable: give "
        note(warning + "--tls-certificate and --tls-key, or --public-url of an HTTPS proxy", "yellow")
    if started.admin_token:
        say("An administrator's token, shown only now:", "bold")
        say(f"  {started.admin_token}")
        next_step(f"acclimate login --url {started.url}", "in another terminal; it asks for the token")
