"""What the reference tells, read from the code itself: each function gives the rows of one page as data."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import click

from acclimate.described import described_fields

CHART = Path(__file__).parent.parent / "helm" / "acclimate" / "values.yaml"
COMMENT = re.compile(r"^(\s*)#\s?(.*)$")
KEY = re.compile(r"^(\s*)([A-Za-z][\w-]*):(.*)$")


class Row(NamedTuple):
    """One documented thing: its heading, its name, its default or form, and what it means."""

    section: str
    name: str
    form: str
    meaning: str


def recipe_keys() -> Iterator[Row]:
    """Every key of a recipe; what columns mean is declared by the recording schema."""
    from acclimate.training.recipe_file import recipe_keys as keys

    for key, default, meaning in keys():
        section, _, rest = key.partition(".")
        if rest.startswith("recordings."):
            section = "data.recordings: what the columns of a table mean"
        yield Row(section if rest else "top", key, default, meaning)


def scenario_keys() -> Iterator[Row]:
    """Every key of a scenario; parts that other classes define follow by their own."""
    from acclimate.rollout.domain.plan import Gate, Plan
    from acclimate.simulation.scenario_file import scenario_keys as keys
    from acclimate_device import OnlinePolicy

    for key, default, meaning in keys():
        yield Row(re.split(r"\.|\[", key)[0] if "." in key else "top", key, default, meaning)
    for row in attributes(OnlinePolicy):
        yield row._replace(section="policy: what a device does by itself")
    for row in (*attributes(Plan), *attributes(Gate)):
        if row.name not in ("fleet", "release", "waves"):  # the scenario says those itself
            yield row._replace(section=f"rollouts[].plan: {row.section}")


def commands() -> Iterator[Row]:
    """Every option and argument of every command."""
    from acclimate.cli.main import cli

    yield from _command(cli, "acclimate", click.Context(cli, info_name="acclimate"))


def _command(command: click.Command, path: str, context: click.Context) -> Iterator[Row]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, f"{path} {name}", click.Context(inner, context, info_name=name))
        return
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    usage = " ".join(command.collect_usage_pieces(context))
    yield Row(path, f"{path} {usage}", "", " ".join(text.split()))
    for one in command.get_params(context):
        if isinstance(one, click.Option) and not one.hidden and "--help" not in one.opts:
            names = ", ".join([*one.opts, *one.secondary_opts])
            form = "" if one.is_flag else one.make_metavar(context)
            yield Row(path, names, form, one.help or "")


def http_api() -> Iterator[Row]:
    """Every operation of the operator side, from its OpenAPI document."""
    from acclimate.rollout.api.keys import ServiceKey
    from acclimate.rollout.application import Service, operator_app
    from acclimate.rollout.settings import ServiceSettings
    from acclimate.rollout.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        settings = ServiceSettings(home=Path(folder))
        store = open_store(settings.database)
        try:
            service = Service(settings, store, ServiceKey.load_or_create(settings.key_file))
            paths = operator_app(service).openapi()["paths"]
        finally:
            store.close()
    for path, operations in paths.items():
        for method, operation in operations.items():
            meaning = operation.get("description") or operation.get("summary", "")
            queries = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
            section = path.split("/")[2]
            yield Row(
                section, f"{method.upper()} /api{path}", ", ".join(queries), meaning.partition("\n\n")[0]
            )


def metrics() -> Iterator[Row]:
    """Every metric the service exposes at `/metrics`."""
    from acclimate.rollout.api.conditions import conditions
    from acclimate.rollout.api.metrics import ServiceMetrics, fault_metrics, fleet_metrics
    from acclimate.rollout.faults import Faults
    from acclimate.rollout.settings import ServiceSettings
    from acclimate.rollout.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/store.db")
        try:
            faults = Faults()
            watched = conditions(store, ServiceSettings(home=Path(folder)), time.time, faults)
            families = [*ServiceMetrics().registry.collect(), *fleet_metrics(store, faults), *watched]
            families += fault_metrics(faults)
        finally:
            store.close()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Row("", name, family.type, family.documentation)


def chart_values() -> Iterator[Row]:
    """Every value of the chart: the comment above it, and its default where it is no map."""
    above: list[str] = []
    path: list[tuple[int, str]] = []
    listed = 10**6  # indentation of the list being read: its entries are explained by its own comment
    for line in CHART.read_text("utf-8").splitlines():
        indentation = len(line) - len(line.lstrip())
        if line.strip().startswith("- "):
            listed = indentation
        elif line.strip() and indentation < listed:
            listed = 10**6
        if indentation >= listed:
            continue
        if comment := COMMENT.match(line):
            above.append(comment[2])
        elif key := KEY.match(line):
            indent, name, default = len(key[1]), key[2], key[3].strip()
            path = [*(one for one in path if one[0] < indent), (indent, name)]
            dotted = ".".join(one for _, one in path)
            yield Row(path[0][1] if len(path) > 1 else "top", dotted, default, " ".join(above).strip())
            above = []
        else:
            above = []


def settings() -> Iterator[Row]:
    """Every setting of the rollout service and of pools, by the variable that gives it."""
    from acclimate.rollout.settings import ServiceSettings
    from acclimate.settings import PREFIX
    from acclimate.tasks.pool.remote.blocks import PoolSettings

    for section, model in (("", ServiceSettings), ("Training: task pools in an object store", PoolSettings)):
        for name, field in model.model_fields.items():
            form = "./acclimate-home" if name == "home" else repr(field.default)
            yield Row(section, f"{PREFIX}{name.upper()}", form, f"{field.description}{_range(field)}")


def device_sdk() -> Iterator[Row]:
    """What an application calls, what it may set, what can go wrong, and the agent's file and commands."""
    from acclimate_device import Device, Forecaster, OnlinePolicy, Windows, drift, errors
    from acclimate_device.agent.config import AgentConfig
    from acclimate_device.agent.main import parser

    for name, member in inspect.getmembers(Device):
        if not name.startswith("_"):
            form = _signature(member) if callable(member) else ""
            yield Row("Device", name, form, _opening(member))
    for stream in (Windows, Forecaster):
        for name, member in inspect.getmembers(stream, inspect.isfunction):
            if not name.startswith("_"):
                yield Row(
                    "Readings that come one at a time",
                    f"{stream.__name__}.{name}",
                    _signature(member),
                    _opening(member),
                )
    for row in attributes(OnlinePolicy):
        yield row._replace(section="OnlinePolicy: what a device does by itself")
    for name in drift.__all__:
        kind = getattr(drift, name)
        if kind is not drift.Detector:
            yield Row("acclimate_device.drift: detectors", name, _signature(kind), _opening(kind))
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        base = kind.__bases__[0].__name__
        yield Row("acclimate_device.errors: what is raised", name, base, _opening(kind))
    for row in attributes(AgentConfig):
        yield row._replace(section="device.toml: the agent's configuration")
    for command, summary in _subcommands(parser()):
        yield Row("acclimate-device: the agent's commands", f"acclimate-device {command}", "", summary)


def _signature(function: Any) -> str:
    """Parameters without types and without self."""
    parameters = inspect.signature(function).parameters.values()
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in parameters if one.name != "self"]
    return str(inspect.Signature(bare))


def _opening(thing: Any) -> str:
    """The first paragraph of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n\n")[0]


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield choice.dest, choice.help or ""


def messages() -> Iterator[Row]:
    """Every field of the manifest and of each message between device and service."""
    from acclimate_device.protocol import MESSAGES

    seen: dict[type, None] = {}
    for message in MESSAGES:
        _collect(message, seen)
    for kind in seen:
        yield from attributes(kind)


def _collect(kind: Any, seen: dict[type, None]) -> None:
    """`kind`, if it is a message, and every message inside it."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind not in seen:
        seen[kind] = None
        for hint in get_type_hints(kind).values():
            _collect(hint, seen)
    for argument in get_args(kind):
        _collect(argument, seen)


def attributes(kind: type) -> Iterator[Row]:
    """The fields of a dataclass with what its docstring says of each under `Attributes:`."""
    for name, default, meaning in described_fields(kind):
        if name == "schema":
            meaning = meaning or "number of this message's format; rises when old readers would misunderstand"
        yield Row(kind.__name__, name, default, meaning)


def _range(field: Any) -> str:
    """The values that a setting may have, as its model checks them."""
    low, above, high = (
        next((getattr(each, name) for each in field.metadata if hasattr(each, name)), None)
        for name in ("ge", "gt", "le")
    )
    if high is None:
        return ""
    return f"; from {low:,.10g} to {high:,.10g}" if above is None else f"; above {above:g}, to {high:,.10g}"
