"""`acclimate simulate`: a whole fleet on one machine, from a scenario file."""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import err, next_step, note, print_fields, print_json, print_table

if TYPE_CHECKING:
    from acclimate.simulation import Detection, Happening, Outcome, Program, Scenario, ServedWorld

STOPPED = 130  # what a shell reports for Ctrl-C
_ROWS = 12
_WORTH_A_PROCESS = 250
"""Devices."""


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--bundle",
    type=LocalPath(exists=True, file_okay=False),
    help="Folder of the bundle that devices are shipped with; gestures bring their own.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key, as in devices=500.")
@click.option("--seed", type=click.IntRange(0), help="Of everything random; the same seed replays.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="That the devices of a simulated clock are divided over; by default one a core, for large fleets. "
    "The outcome is the same for any number.",
)
@click.option(
    "--join",
    "root",
    type=LocalPath(exists=True, dir_okay=False),
    metavar="ROOT.JSON",
    help="Join the service of ACCLIMATE_URL or `acclimate login`, whose repository has this first root.",
)
@json_option
def simulate(
    scenario: str | None,
    bundle: Path | None,
    changes: tuple[str, ...],
    seed: int | None,
    processes: int | None,
    root: Path | None,
    as_json: bool,
) -> None:
    """Run the fleet of SCENARIO, a YAML file or the name of a shipped one, and print what came of it.

    The devices are the real SDK, the service is the real rollout service: one of its own, or with --join one
    that runs already and holds the scenario's versions. Without SCENARIO: list the shipped ones.
    """
    from acclimate.simulation import join, load_scenario
    from acclimate.simulation import simulate as run

    if scenario is None:
        _list(as_json)
        return
    logging.getLogger("acclimate_device").setLevel(logging.ERROR)  # failing rounds are part of the story
    given = [*changes, *([f"seed={seed}"] if seed is not None else [])]
    loaded = load_scenario(scenario, given)
    if processes and (root is not None or loaded.clock == "wall"):
        raise click.UsageError(
            "--processes is for devices on a simulated clock: leave it out, or --join and clock=wall"
        )
    factory, progress = _files(bundle) if bundle else None, _Progress(loaded)
    try:
        with _program(loaded, factory) as program:
            if root is None:
                outcome = run(loaded, factory, progress, program, processes or _processes(loaded.devices))
            else:
                outcome = join(loaded, _world(root), factory, progress, program)
    except KeyboardInterrupt:
        note(f"stopped; seed {loaded.seed} tells the same story again from its start")
        raise SystemExit(STOPPED) from None
    if as_json:
        print_json(outcome.as_dict())
        return
    _show(outcome)
    next_step(f"acclimate simulate {scenario} --seed {loaded.seed + 1}", "the same story with other dice")


def _processes(devices: int) -> int:
    """One a core, where starting another one costs less than it saves."""
    return max(1, min(len(os.sched_getaffinity(0)), devices // _WORTH_A_PROCESS))


class _Progress:
    """Prints what happens to the fleet as a whole, and counts what happens to single devices."""

    def __init__(self, scenario: Scenario) -> None:
        note(
            f"{scenario.name}: {scenario.devices} devices, {_span(scenario.duration)}, "
            f"{scenario.clock} clock, seed {scenario.seed}"
        )
        self._started: float | None = None
        self._counts: Counter[str] = Counter()
        self._said_at = 0.0
        self._every_s = scenario.duration / _ROWS

    def __call__(self, happening: Happening) -> None:
        if self._started is None:
            self._started = self._said_at = happening.at
        self._counts[happening.kind] += 1
        if happening.kind == "rollout":
            self._say(happening.at, happening.detail)
        elif happening.at - self._said_at >= self._every_s:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._counts.items()))
            self._say(happening.at, counts)
            self._said_at = happening.at

    def _say(self, at: float, text: str) -> None:
        assert self._started is not None
        note(f"  {_span(at - self._started):>9}  {text}")


@contextlib.contextmanager
def _program(scenario: Scenario, given: dict[str, bytes] | None) -> Iterator[Program | None]:
    """The C runtime of the factory's bundle, compiled here, where the scenario has microcontrollers."""
    if not scenario.microcontrollers:
        yield None
        return
    from acclimate.bundle.mcu.toolchain import host_program
    from acclimate.simulation import Program, factory_for
    from acclimate_device.bundle import read_bundle

    with tempfile.TemporaryDirectory(prefix="acclimate-firmware-") as folder:
        with err.status("compiling the C runtime"):
            bundle = read_bundle(factory_for(scenario, given).get)
            path = host_program(bundle, Path(folder) / "firmware")
        yield Program(path)


def _world(root: Path) -> ServedWorld:
    from acclimate.client import connect
    from acclimate.simulation import ServedWorld

    service = connect()
    return ServedWorld(service.url, service.token, root.read_bytes())


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _list(as_json: bool) -> None:
    from acclimate.simulation import load_scenario, shipped_scenarios

    found = [load_scenario(name) for name in shipped_scenarios()]
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = [(one.name, one.devices, _span(one.duration), one.clock, one.description) for one in found]
    print_table("Scenarios", ["name", "devices", "lasts", "clock", "story"], rows)
    next_step("acclimate simulate gestures", "needs no data and no training")


def _show(outcome: Outcome) -> None:
    windows = outcome.windows(max(outcome.duration_s / _ROWS, 1.0))
    rows = [
        (
            _span(one.at),
            one.devices,
            one.examples,
            _number(one.start_loss),
            _number(one.adapted_loss),
            _percent(one.mistakes),
            one.drifts,
            " ".join(f"v{version}:{count}" for version, count in sorted(one.versions.items())),
        )
        for one in windows
    ]
    columns = ["at", "devices", "labels", "start", "adapted", "wrong", "drifts", "reports"]
    print_table(f"What {len(outcome.devices)} devices reported (start, adapted: mean loss)", columns, rows)
    detections = outcome.detections()
    if detections:
        columns = ["drift", "devices", "detected", "after labels", "loss before", "loss after"]
        print_table("What they made of drift (medians)", columns, _by_drift(detections))
    fields: dict[str, object] = {
        "devices end on": ", ".join(f"{name} ({count})" for name, count in outcome.versions().items()),
        "false alarms": outcome.false_alarms(),
        "requests": outcome.requests,
        "reports": f"{outcome.acknowledged} acknowledged, {outcome.counted['reports']:.0f} counted",
        "digest": outcome.digest()[:16],
    }
    print_fields("Outcome", fields)


def _by_drift(detections: Sequence[Detection]) -> list[tuple[object, ...]]:
    by_name: dict[str, list[Detection]] = {}
    for one in detections:
        by_name.setdefault(one.drift, []).append(one)
    return [
        (
            name,
            len(held),
            sum(one.delay_s is not None for one in held),
            _median(one.delay_examples for one in held if one.delay_s is not None),
            _number(_median(one.loss_before for one in held)),
            _number(_median(one.loss_after for one in held)),
        )
        for name, held in by_name.items()
    ]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share * 100:.1f} %"
