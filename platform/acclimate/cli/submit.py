"""`acclimate submit`: the same recipe on a cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import yaml

from acclimate import __version__
from acclimate.cli.jobs import PLACE, open_jobs, place_options, watch
from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import err, next_step, note, print_json, say
from acclimate.cli.train import change_option
from acclimate.documents import mapping_in
from acclimate.errors import RecipeError


@click.command()
@click.argument("recipe")
@place_options
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished run the cluster holds.")
@click.option("--workers", type=click.IntRange(0), help="Ray workers [default: the recipe's].")
@change_option
@click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    metavar="URI",
    help="MLflow as the cluster reaches it [default: MLFLOW_TRACKING_URI, else the cluster's own].",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the job; no secret."
)
@click.option("--follow/--detach", default=True, show_default=True, help="Read along until it ends.")
@click.option(
    "--working-dir",
    type=LocalPath(exists=True, file_okay=False),
    help="Ray: take this folder along, for modules the recipe names.",
)
@click.option(
    "--runtime-env",
    type=LocalPath(exists=True, dir_okay=False),
    help="Ray: a runtime environment as YAML, such as further pip packages.",
)
@click.option("--image", help="Kubernetes: the trainer's image [default: acclimate-trainer of this version].")
@click.option("--ray-version", help="Kubernetes: Ray's version in the image [default: the one here].")
@click.option(
    "--cpus", type=click.IntRange(1), default=2, show_default=True, help="Kubernetes: of a worker pod."
)
@click.option("--memory", default="4Gi", show_default=True, help="Kubernetes: of a pod.")
@click.option("--gpus", type=click.IntRange(0), default=0, help="Kubernetes: of a worker pod.")
@click.option("--node-selector", multiple=True, metavar="LABEL=VALUE", help="Kubernetes: nodes for workers.")
@click.option("--toleration", multiple=True, metavar="KEY", help="Kubernetes: a taint workers tolerate.")
@click.option(
    "--secret-env",
    multiple=True,
    metavar="NAME=SECRET:KEY",
    help="Kubernetes: a variable from a Secret, by reference.",
)
@click.option("--secret", multiple=True, help="Kubernetes: every key of this Secret as a variable.")
@click.option("--pull-secret", multiple=True, help="Kubernetes: Secret to pull the image with.")
@click.option("--claim", help="Kubernetes: volume claim that keeps checkpoints, for --resume.")
@click.option(
    "--pool-cache-gb",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Kubernetes: what a worker pod keeps of pools in an object store.",
)
@click.option("--openshift", is_flag=True, help="Kubernetes: leave the pods' users to OpenShift.")
@click.option("--service-account", help="Kubernetes: of the pods.")
@click.option("--ray-cluster", help="Kubernetes: run on this standing RayCluster.")
@click.option("--dry-run", is_flag=True, help="Kubernetes: print the RayJob and submit nothing.")
@json_option
def submit(
    recipe: str,
    place: dict[str, Any],
    resume: bool,
    workers: int | None,
    changes: tuple[str, ...],
    tracking_uri: str | None,
    variables: tuple[str, ...],
    follow: bool,
    working_dir: Path | None,
    runtime_env: Path | None,
    dry_run: bool,
    as_json: bool,
    **pod_options: Any,
) -> None:
    """Train RECIPE on a Ray cluster (--address) or on Kubernetes (--kubernetes), reading along.

    Ctrl-C ends the reading, not the job. The cluster's token is found where Ray looks for it:
    RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.
    """
    from acclimate.training.jobs.job import Order, job_name
    from acclimate.training.jobs.rayjob import rayjob
    from acclimate.training.jobs.submitting import submit_once
    from acclimate.training.recipe_file import load_recipe

    if workers is not None:
        changes = (*changes, f"training.workers={workers}")
    loaded = load_recipe(recipe, changes)
    environment = _pairs("--env", variables)
    if tracking_uri:
        environment["MLFLOW_TRACKING_URI"] = tracking_uri
    name = job_name(loaded, datetime.now(), secrets.token_hex(2))
    order = Order(name, loaded, environment, resume)
    pods = _pods(**pod_options) if place["kubernetes"] else None
    if dry_run:
        if pods is None:
            raise RecipeError("--dry-run prints a RayJob: give --kubernetes with it")
        print(yaml.safe_dump(rayjob(order, pods), sort_keys=False), end="")
        return
    environment_of_job = None if pods else _runtime_env(working_dir, runtime_env)
    jobs = open_jobs(**place, pods=pods, runtime_env=environment_of_job)
    if not tracking_uri:
        note(
            "no MLflow server is named (--tracking-uri): the version will be where the cluster's own "
            "MLFLOW_TRACKING_URI says, else on the disk of its head",
            "yellow",
        )
    with err.status("submitting") as status:
        job = submit_once(jobs, order, on_wait=lambda why: status.update(f"trying again: {why}"))
    if follow and not as_json:
        note(f"submitted {job.name}")
        watch(jobs, job.name)
        next_step("acclimate versions", "the version it registered")
        return
    if as_json:
        print_json(asdict(job))
        return
    say(f"submitted {job.name}")
    next_step(f"acclimate jobs logs {job.name} --follow", "read along", PLACE)


def _pods(
    image: str | None,
    ray_version: str | None,
    node_selector: Sequence[str],
    toleration: tuple[str, ...],
    secret_env: Sequence[str],
    secret: tuple[str, ...],
    pull_secret: tuple[str, ...],
    **rest: Any,
) -> Any:
    """`Pods` of the options."""
    from importlib.metadata import version

    from acclimate.training.jobs.rayjob import Pods

    references = {}
    for variable, reference in _pairs("--secret-env", secret_env).items():
        named, colon, key = reference.partition(":")
        if not (named and colon and key):
            raise RecipeError(
                f"--secret-env {variable}={reference} names no key of a Secret: write NAME=SECRET:KEY"
            )
        references[variable] = (named, key)
    return Pods(
        image=image or f"acclimate-trainer:{__version__}",
        ray_version=ray_version or version("ray"),
        node_selector=_pairs("--node-selector", node_selector),
        tolerations=toleration,
        secret_variables=references,
        secrets=secret,
        pull_secrets=pull_secret,
        **rest,
    )


def _runtime_env(working_dir: Path | None, file: Path | None) -> dict[str, Any]:
    given = {} if file is None else mapping_in(file, RecipeError)
    if working_dir is not None:
        # What every project's folder holds and no job needs.
        named = given.get("excludes") or []
        if not isinstance(named, list):
            raise RecipeError(f"--runtime-env {file}: excludes is {named!r}, no list of patterns")
        excluded = [".git", ".venv", "acclimate-home", *named]
        given = {**given, "working_dir": os.fspath(working_dir), "excludes": excluded}
    return given


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise RecipeError(f"{option} {each!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs
