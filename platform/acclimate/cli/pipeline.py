"""`acclimate pipeline`: retraining as a Kubeflow pipeline, on a cluster or on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import yaml

from acclimate.cli.options import LocalPath, json_option, output_option
from acclimate.cli.output import next_step, note, print_fields, print_json, print_table, say, say_done
from acclimate.cli.train import change_option, read_tags, tag_option
from acclimate.documents import mapping_in
from acclimate.errors import RolloutError, TrainingError
from acclimate.home import home
from acclimate_pipelines.retraining import NAME, Cluster, write

if TYPE_CHECKING:
    from acclimate_pipelines.kubeflow import Kubeflow, Run

LOOK_S = 5.0
Command = TypeVar("Command", bound=Callable[..., Any])


def _together(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_defaults = Cluster()
_WHERE = ("host", "namespace", "experiment")
_where = _together(
    click.option(
        "--host",
        envvar="ACCLIMATE_KFP_HOST",
        default="",
        help="Kubeflow Pipelines' API [default: ACCLIMATE_KFP_HOST, else the current Kubernetes context].",
    ),
    click.option("--namespace", envvar="ACCLIMATE_KFP_NAMESPACE", default="", help="In multi-user mode."),
    click.option("--experiment", default="acclimate", show_default=True, help="Groups the runs."),
)
_cluster_options = _together(
    click.option("--image", default=_defaults.image, show_default=True, help="Of every step."),
    click.option("--secret", default=_defaults.secret, show_default=True, help="Settings, as said above."),
    click.option("--signing-secret", default=_defaults.signing_secret, show_default=True, help="Key files."),
    click.option("--volume", default=_defaults.volume, show_default=True, help="Claim of ACCLIMATE_HOME."),
    click.option(
        "--repository",
        default=_defaults.repository,
        show_default=True,
        help="Claim of the signed repository.",
    ),
    click.option("--cpu", default=_defaults.cpu, show_default=True, help="Of a step that computes."),
    click.option("--memory", default=_defaults.memory, show_default=True, help="Of a step that computes."),
    click.option("--training-cpu", default="", help="Of the training step [default: --cpu]."),
    click.option("--training-memory", default="", help="Of the training step [default: --memory]."),
    click.option("--pull-secret", "pull_secrets", multiple=True, help="Secret to pull the image with."),
    click.option(
        "--node-selector",
        multiple=True,
        metavar="KEY=VALUE",
        help="Label of the nodes of steps that compute.",
    ),
)


def _cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Gathers the options of the steps' pods into `cluster`."""

    @wraps(command)
    def gathered(**given: Any) -> None:
        options = {field.name: given.pop(field.name) for field in fields(Cluster)}
        cluster = Cluster(**options | {"node_selector": _labels(options["node_selector"])})
        command(cluster=cluster, **given)

    return _cluster_options(gathered)


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise TrainingError(f"--node-selector {pair!r}: write KEY=VALUE, such as pool=training")
    return dict(pair.split("=", 1) for pair in pairs)


_parameters = _together(
    click.argument("recipe"),
    change_option,
    tag_option,
    click.option("--fleet", default="", help="Roll out to it [default: end after registering]."),
    click.option("--champion", default="champion", show_default=True, help="Version to be better than."),
    click.option(
        "--minimum-gain", type=float, default=0.0, show_default=True, help="Over the champion, of the metric."
    ),
    click.option("--proven", is_flag=True, help="The whole 95 % interval has to reach the minimum gain."),
    click.option(
        "--plan",
        type=LocalPath(exists=True, dir_okay=False),
        help="YAML of the rollout: waves, gates, ..., as for `acclimate rollout plan --file`.",
    ),
    click.option(
        "--watch-hours", type=click.FloatRange(0), default=168.0, show_default=True, help="Follow that long."
    ),
)
_account = click.option("--service-account", default="", help="Of the steps, in Kubernetes.")


@click.group()
def pipeline() -> None:
    """Retrain as a Kubeflow pipeline: prepare, report, meta-train, evaluate, gate against the champion,
    register, export and sign, roll out, watch.

    On a cluster, the Secret of --secret gives the steps MLFLOW_TRACKING_URI, ACCLIMATE_URL, ACCLIMATE_TOKEN,
    ACCLIMATE_KEY_PASSPHRASE and ACCLIMATE_ARTIFACTS_URL; with --local they take these,
    ACCLIMATE_TUF_DIRECTORY and ACCLIMATE_SIGNING_KEYS from the environment. A bearer token for Kubeflow comes
    from ACCLIMATE_KFP_TOKEN.
    """


@pipeline.command("compile")
@output_option("The YAML file.", default=Path("retraining.yaml"), show_default=True)
@_cluster
@json_option
def compile_(output: Path, as_json: bool, cluster: Cluster) -> None:
    """Write the pipeline as YAML, which any Kubeflow Pipelines 2 takes."""
    if not output.parent.is_dir():
        raise TrainingError(f"{output.parent} is no directory: make it, or choose another --output")
    write(output, cluster)
    say_done(f"{NAME} in {output}", as_json, pipeline=NAME, file=str(output))
    next_step("acclimate pipeline run RECIPE --host URL", "run it on a cluster; --local on this machine")


@pipeline.command("run")
@_parameters
@click.option("--local", "here", is_flag=True, help="Run on this machine, one process for each step.")
@click.option("--as-of", help="Kubeflow keeps results of the same data by this text [default: now].")
@click.option("--wait", "waiting", is_flag=True, help="Stay until it ends; exit with 2 if it fails.")
@_account
@_where
@_cluster
@json_option
def run(
    recipe: str,
    changes: tuple[str, ...],
    here: bool,
    as_of: str | None,
    waiting: bool,
    service_account: str,
    host: str,
    namespace: str,
    experiment: str,
    as_json: bool,
    cluster: Cluster,
    **options: Any,
) -> None:
    """Retrain RECIPE (a YAML file or a shipped name) and bring the result to a fleet."""
    now = datetime.now(UTC)
    parameters = _read_parameters(recipe, changes, data_as_of=as_of or now.isoformat(), **options)
    if here:
        _run_here(parameters, now, as_json)
        return
    server = _connect(host, namespace)
    started = server.start(
        f"{_name(parameters)} {now:%Y-%m-%d %H:%M:%S}", experiment, parameters, cluster, service_account
    )
    if waiting:
        started = _follow(server, started.id, quiet=as_json)
    if as_json:
        print_json(asdict(started))
        return
    _show(started)
    if not waiting:
        next_step(f"acclimate pipeline status {started.id} --wait", "follow it to its end", _WHERE)


@pipeline.command("schedule")
@_parameters
@click.option("--cron", required=True, help="Five fields (minute first) or six (second first), UTC.")
@click.option("--name", help="An earlier schedule of that name is replaced [default: the recipe's].")
@_account
@_where
@_cluster
@json_option
def schedule(
    recipe: str,
    changes: tuple[str, ...],
    cron: str,
    name: str | None,
    service_account: str,
    host: str,
    namespace: str,
    experiment: str,
    as_json: bool,
    cluster: Cluster,
    **options: Any,
) -> None:
    """Retrain RECIPE on a schedule; the gate decides each time whether anything is registered."""
    parameters = _read_parameters(recipe, changes, data_as_of="", **options)
    made = _connect(host, namespace).schedule(
        name or _name(parameters),
        experiment,
        _six_fields(cron),
        parameters,
        cluster,
        service_account,
    )
    if as_json:
        print_json(asdict(made))
        return
    _show(made)
    next_step("acclimate pipeline list", "every schedule, and the newest runs", _WHERE)


@pipeline.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Newest runs.")
@_where
@json_option
def list_(limit: int, host: str, namespace: str, experiment: str, as_json: bool) -> None:
    """List schedules and the newest runs."""
    server = _connect(host, namespace)
    schedules, runs = server.schedules(experiment), server.runs(experiment, limit)
    if as_json:
        print_json({"schedules": list(map(asdict, schedules)), "runs": list(map(asdict, runs))})
        return
    for title, found in (("Schedules", schedules), ("Runs", runs)):
        print_table(title, ("id", "name", "state"), [(one.id, one.name, one.state.lower()) for one in found])


@pipeline.command("status")
@click.argument("run_id")
@click.option("--wait", "waiting", is_flag=True, help="Stay until it ends; exit with 2 if it fails.")
@_where
@json_option
def status(run_id: str, waiting: bool, host: str, namespace: str, experiment: str, as_json: bool) -> None:
    """Show a run."""
    server = _connect(host, namespace)
    found = _follow(server, run_id, quiet=as_json) if waiting else server.run(run_id)
    if as_json:
        print_json(asdict(found))
    else:
        _show(found)


@pipeline.command("stop")
@click.argument("run_id")
@_where
@json_option
def stop(run_id: str, host: str, namespace: str, experiment: str, as_json: bool) -> None:
    """End a run; a rollout that it started goes on."""
    _connect(host, namespace).stop(run_id)
    say_done(f"run {run_id} is asked to end", as_json, run=run_id)
    next_step("acclimate rollout list", "steer a rollout that it started")


@pipeline.command("unschedule")
@click.argument("schedule_id")
@_where
@json_option
def unschedule(schedule_id: str, host: str, namespace: str, experiment: str, as_json: bool) -> None:
    """End a schedule; runs under way go on."""
    _connect(host, namespace).unschedule(schedule_id)
    say_done(f"schedule {schedule_id} is ended", as_json, schedule=schedule_id)


def _read_parameters(
    recipe: str,
    changes: tuple[str, ...],
    *,
    plan: Path | None,
    tags: tuple[str, ...],
    data_as_of: str,
    **given: Any,
) -> dict[str, Any]:
    """The pipeline's parameters; the recipe travels as text, so that a cluster needs no file of ours."""
    from acclimate.training.recipe_file import load_recipe, to_yaml

    return {
        "recipe": to_yaml(load_recipe(recipe, changes)),
        "plan": {} if plan is None else mapping_in(plan, RolloutError),
        "tags": read_tags(tags),
        "data_as_of": data_as_of,
        **given,
    }


def _run_here(parameters: dict[str, Any], now: datetime, as_json: bool) -> None:
    from acclimate.registry import CANDIDATE, Registry
    from acclimate_pipelines.here import run_here

    root = home() / "pipeline-artifacts" / f"{now:%Y-%m-%dT%H-%M-%S}"
    begun = time.monotonic()
    run_here(parameters, root)
    took = time.monotonic() - begun
    if as_json:
        version = Registry.open().version(_name(parameters), CANDIDATE)
        print_json({"version": asdict(version), "seconds": round(took, 1), "artifacts": str(root)})
        return
    say(f"done in {took:.0f} s; artifacts in {root}")
    next_step(f"acclimate versions {_name(parameters)}", "what was registered")


def _name(parameters: dict[str, Any]) -> str:
    return str(yaml.safe_load(parameters["recipe"])["name"])


def _six_fields(cron: str) -> str:
    """Kubeflow's cron begins with seconds."""
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise TrainingError(f"--cron {cron!r} has {len(fields)} fields: write five, such as '0 3 * * 1'")
    return " ".join(["0", *fields] if len(fields) == 5 else fields)


def _connect(host: str, namespace: str) -> Kubeflow:
    from acclimate_pipelines.kubeflow import Kubeflow

    return Kubeflow(host, os.environ.get("ACCLIMATE_KFP_TOKEN", ""), namespace)


def _follow(server: Kubeflow, run_id: str, quiet: bool) -> Run:
    from acclimate_pipelines.kubeflow import wait

    def tell(found: Run) -> None:
        if not quiet:
            note(f"{found.name}: {found.state.lower()}")

    return wait(server, run_id, tell, lambda: time.sleep(LOOK_S))


def _show(one: Run) -> None:
    fields = {"id": one.id, "state": one.state.lower(), "error": one.error, "page": one.url}
    print_fields(one.name, {name: value for name, value in fields.items() if value})
