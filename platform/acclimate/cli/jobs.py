"""`acclimate jobs`: what was submitted to a cluster, its logs, and how to stop it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from acclimate.cli.options import json_option
from acclimate.cli.output import next_step, note, print_json, print_table, say_done
from acclimate.errors import MissingExtraError

if TYPE_CHECKING:
    from acclimate.training.jobs.job import Job, Jobs
    from acclimate.training.jobs.rayjob import Pods

_LOCAL = "http://127.0.0.1:8265"
STOPPED_WATCHING = 130  # what a shell reports for Ctrl-C
PLACE = ("address", "kubernetes", "namespace", "context")


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say on which cluster, which the command gets as `place`: what `open_jobs` takes."""

    @functools.wraps(command)
    def gathered(**given: Any) -> None:
        command(place={name: given.pop(name) for name in PLACE}, **given)

    for option in (
        click.option("--context", help="Context of the kubeconfig [default: the current one]."),
        click.option("--namespace", help="Kubernetes namespace [default: the context's]."),
        click.option("--kubernetes", is_flag=True, help="Use KubeRay on Kubernetes, as KUBECONFIG says."),
        click.option(
            "--address",
            envvar=["RAY_API_SERVER_ADDRESS"],
            metavar="URL",
            help=f"Jobs API of a Ray cluster [default: RAY_API_SERVER_ADDRESS, else {_LOCAL}].",
        ),
    ):
        gathered = option(gathered)
    return gathered


@click.group()
def jobs() -> None:
    """Training jobs on a Ray cluster or on Kubernetes."""


@jobs.command("list")
@place_options
@json_option
def list_(place: dict[str, Any], as_json: bool) -> None:
    """List submitted jobs, newest first."""
    found = open_jobs(**place).all()
    if as_json:
        print_json([asdict(job) for job in found])
        return
    rows = [
        (
            job.name,
            job.state,
            f"{job.started.astimezone():%m-%d %H:%M}" if job.started else None,
            str(job.ended - job.started).partition(".")[0] if job.started and job.ended else None,
            job.detail[:60],
        )
        for job in found
    ]
    print_table("Training jobs", ("name", "state", "started", "took", "detail"), rows)
    if found:
        next_step(f"acclimate jobs logs {found[0].name} --follow", "read along", PLACE)
    else:
        next_step("acclimate submit RECIPE", "train on the cluster")


@jobs.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Read along until it ends.")
@place_options
def logs(name: str, follow: bool, place: dict[str, Any]) -> None:
    """Print a job's log."""
    jobs = open_jobs(**place)
    if follow:
        watch(jobs, name)
        return
    print(jobs.log(name), end="")


@jobs.command()
@click.argument("name")
@place_options
@json_option
def stop(name: str, place: dict[str, Any], as_json: bool) -> None:
    """Stop a job; its checkpoints stay where the cluster keeps ACCLIMATE_HOME."""
    jobs = open_jobs(**place)
    job = jobs.get(name)
    if job.state.ended:
        say_done(f"{name} has already {job.state}", as_json, name=name, state=job.state)
        return
    jobs.stop(name)
    say_done(f"{name} is asked to stop", as_json, name=name, state="stopping")
    next_step("acclimate submit RECIPE --resume", "go on where it stopped", PLACE)


def open_jobs(
    address: str | None,
    kubernetes: bool,
    namespace: str | None,
    context: str | None,
    *,
    pods: Pods | None = None,
    runtime_env: dict[str, Any] | None = None,
) -> Jobs:
    """The cluster that the options name."""
    if kubernetes:
        try:
            from acclimate.training.jobs.kube_jobs import KubeJobs
        except ModuleNotFoundError as error:
            if error.name != "kubernetes":
                raise
            raise MissingExtraError("cluster", "kubernetes") from error
        return KubeJobs(pods, namespace, context)
    from acclimate.training.jobs.ray_jobs import RayJobs

    return RayJobs(address or _LOCAL, runtime_env)


def watch(jobs: Jobs, name: str) -> Job:
    """Print a job's log until it ends; a job that failed ends this process with 1."""
    from acclimate.training.jobs.following import follow
    from acclimate.training.jobs.job import JobState

    def tell(job: Job) -> None:
        detail = f": {job.detail}" if job.detail else ""
        note(f"{job.name} is {job.state}{detail}", "dim")

    show, trouble = functools.partial(print, end="", flush=True), functools.partial(note, style="yellow")
    try:
        job = follow(jobs, name, show, on_state=tell, on_trouble=trouble)
    except KeyboardInterrupt:
        note("\nno longer following; the job goes on", "yellow")
        next_step(f"acclimate jobs logs {name} --follow", "read along again", PLACE)
        next_step(f"acclimate jobs stop {name}", "end the job", PLACE)
        sys.exit(STOPPED_WATCHING)
    if job.state is not JobState.SUCCEEDED:
        sys.exit(1)
    return job
