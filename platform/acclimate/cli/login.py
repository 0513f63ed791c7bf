"""`acclimate login` and `acclimate token`: getting in, and letting others in."""

from __future__ import annotations

import sys
import time

import click

from acclimate.cli.moments import moment, token_state
from acclimate.cli.options import json_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say_done
from acclimate.client import DEFAULT_URL, ServiceClient, connect, save_credentials
from acclimate.errors import RolloutError


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Address of the rollout service.")
@click.option("--token", help="An API token [default: asks, or reads a line of what is piped in].")
@json_option
def login(url: str, token: str | None, as_json: bool) -> None:
    """Check an API token and keep it for the next commands."""
    if token is None:
        asked = sys.stdin.isatty()
        token = click.prompt("API token", hide_input=True) if asked else sys.stdin.readline()
    service = ServiceClient(url, token)
    who = service.get("/whoami")
    if not isinstance(who, dict) or not {"name", "role"} <= who.keys():
        raise RolloutError(f"what answers at {service.url} is no rollout service: correct --url")
    path = save_credentials(service.url, service.token)
    said = f"signed in to {url} as {who['name']} ({who['role']}); kept in {path}"
    say_done(said, as_json, url=url, name=who["name"], role=who["role"], file=str(path))
    next_step("acclimate fleet list", "what is there")


@click.group()
def token() -> None:
    """API tokens for operators and programs."""


@token.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    default="operator",
    show_default=True,
    help="A viewer reads, an operator runs rollouts, an admin makes fleets and tokens too.",
)
@click.option("--fleet", help="Limit it to one fleet.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it ends [default: never].")
@json_option
def create(name: str, role: str, fleet: str | None, days: int | None, as_json: bool) -> None:
    """Make an API token and show it, this once."""
    lifetime_s = None if days is None else days * 86_400
    body = {"name": name, "role": role, "fleet": fleet, "lifetime_s": lifetime_s}
    made = connect().post("/tokens", body)
    if as_json:
        print_json(made)
        return
    print_fields(
        f"token {name}", {"id": made["id"], "role": role, "fleet": fleet or "all", "token": made["token"]}
    )
    next_step("acclimate login", "where it shall be used; it is not shown again")


@token.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List API tokens."""
    tokens, now = connect().get("/tokens"), time.time()
    if as_json:
        print_json(tokens)
        return
    rows = [
        (
            one["id"],
            one["name"],
            one["role"],
            one["fleet"] or "all",
            moment(one["created_at"]),
            moment(one["expires_at"]),
            token_state(one, now),
        )
        for one in tokens
    ]
    print_table("API tokens", ["id", "name", "role", "fleet", "made", "ends", "state"], rows)


@token.command("revoke")
@click.argument("token_id")
@json_option
def revoke(token_id: str, as_json: bool) -> None:
    """End an API token at once."""
    connect().delete(f"/tokens/{token_id}")
    say_done(f"token {token_id} is revoked", as_json, id=token_id, state="revoked")
