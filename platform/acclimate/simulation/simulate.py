"""A whole scenario, from the first arrival to the last report handed in."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acclimate.errors import ScenarioError
from acclimate.simulation.agenda import SimulatedClock
from acclimate.simulation.device import Equipment, SharedEngines
from acclimate.simulation.events import Happening, Tell
from acclimate.simulation.fleet import Fleet
from acclimate.simulation.lockstep import LockstepFleet, SteppedService
from acclimate.simulation.microcontroller import Program
from acclimate.simulation.outcome import Outcome, RolloutChange
from acclimate.simulation.publishing import next_version, sign_repository
from acclimate.simulation.scenario import RolloutSection, Scenario
from acclimate.simulation.served import ServedWorld, ServiceProcess
from acclimate.simulation.streams import Streams, open_streams
from acclimate.simulation.world import Files, World, release_of
from acclimate_device.bundle import read_bundle
from acclimate_device.errors import BundleError, LabelError
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import MANIFEST, Manifest, loads
from acclimate_device.testing import tiny_bundle


@dataclass
class _Running:
    """A rollout of the scenario, and what was last told of it."""

    section: RolloutSection
    identity: str = ""
    seen: tuple[str, int] = ("", 0)


def simulate(
    scenario: Scenario,
    factory: Files | None = None,
    tell: Tell = lambda happening: None,
    program: Program | None = None,
    processes: int = 1,
) -> Outcome:
    """Run a scenario against a service of its own, which is gone afterwards.

    Args:
        factory: the bundle devices are shipped with, by file name; gestures need none.
        tell: is called with everything that happens.
        program: the C runtime, where some of the scenario's devices are microcontrollers.
        processes: over which devices on a simulated clock are divided; any number gives the same outcome.
            With more than one, a script that calls this needs the usual `if __name__ == "__main__"`.

    Raises:
        ScenarioError: the scenario does not fit its data, or the service cannot start.
    """
    files = factory_for(scenario, factory)
    streams = open_streams(scenario.stream)
    check_fit(streams, files)
    versions = versions_of(scenario, files)
    with (
        tempfile.TemporaryDirectory(prefix="acclimate-simulation-", dir=_scratch(scenario)) as folder,
        own_world(scenario, versions, Path(folder)) as world,
    ):
        return run(scenario, world, files, streams, Path(folder) / "devices", tell, program, processes)


def join(
    scenario: Scenario,
    world: ServedWorld,
    factory: Files | None = None,
    tell: Tell = lambda happening: None,
    program: Program | None = None,
) -> Outcome:
    """Run a scenario's devices against a service that runs already, and leave the fleet there.

    Its repository has to hold the factory's bundle and every version that the scenario rolls out.

    Raises:
        ScenarioError: the scenario runs on a simulated clock, does not fit its data, or the service refuses.
    """
    if scenario.clock != "wall":
        raise ScenarioError(
            f"scenario {scenario.name!r} runs on a simulated clock, and a service that runs already on the "
            "wall's: set clock=wall, and a duration that you can wait for"
        )
    files = factory_for(scenario, factory)
    streams = open_streams(scenario.stream)
    check_fit(streams, files)
    with tempfile.TemporaryDirectory(prefix="acclimate-simulation-") as folder:
        return run(scenario, world, files, streams, Path(folder), tell, program)


def run(
    scenario: Scenario,
    world: World,
    factory: Files,
    streams: Streams,
    metadata: Path,
    tell: Tell = lambda happening: None,
    program: Program | None = None,
    processes: int = 1,
) -> Outcome:
    """Run a scenario in a world whose repository holds the factory's bundle and every version rolled out.

    Args:
        metadata: folder for the devices' verified TUF metadata, and the flash of microcontrollers.
        program: the C runtime, where some of the scenario's devices are microcontrollers.

    Raises:
        ScenarioError: they are, and there is none.
    """
    if scenario.microcontrollers and program is None:
        raise ScenarioError(
            f"scenario {scenario.name!r} has microcontrollers: pass the C runtime, compiled for this machine"
        )
    operator = world.operator
    operator.add_fleet(scenario.name, scenario.service.poll)
    operator.set_baseline(scenario.name, release_of(factory))
    token = operator.enrolment_token(scenario.name, scenario.devices)
    equipment = Equipment(factory, world.root, world.connect, metadata, token, SharedEngines(), program)
    fleet = (
        LockstepFleet(scenario, streams, equipment, world, tell, processes)
        if isinstance(world, SteppedService)
        else Fleet(scenario, streams, equipment, world.clock, tell)
    )
    with fleet:
        rollouts = _let_pass(scenario, world, fleet, release_of(factory).name, tell)
        fleet.stop()
        fleet.hand_in()
        outcome = fleet.outcome()
    outcome.rollouts = rollouts
    outcome.counted = operator.counted(scenario.name)
    return outcome


def _scratch(scenario: Scenario) -> Path | None:
    """Memory, where there is some to mount: nobody waits for a disk on a simulated clock."""
    memory = Path("/dev/shm")
    return memory if scenario.clock == "simulated" and memory.is_dir() else None


def _let_pass(
    scenario: Scenario, world: World, fleet: Fleet | LockstepFleet, name: str, tell: Tell
) -> list[RolloutChange]:
    """Time passes; rollouts start when they are due, each after the one before has ended. Their changes."""
    begun, changes = world.clock(), []
    end = begun + scenario.duration  # as it rounds: what has passed since `begun` may stay below the duration
    waiting = sorted((_Running(one) for one in scenario.rollouts), key=lambda one: one.section.at)
    live: _Running | None = None
    look = max(1.0, min(scenario.service.tick, scenario.duration / 50))
    while (now := world.clock()) < end:
        elapsed = now - begun
        if live is None and waiting and waiting[0].section.at <= elapsed:
            live = waiting.pop(0)
            plan = live.section.body(f"{name}@{live.section.version}")
            live.identity = world.operator.roll_out(scenario.name, plan)
        if live is not None:
            status = world.operator.status(live.identity)
            if (status.state, status.wave) != live.seen:
                live.seen = (status.state, status.wave)
                version = live.section.version
                changes.append((elapsed, version, status.state, status.wave, status.reason))
                detail = f"version {version} {status.state}, wave {status.wave}: {status.reason}"
                tell(Happening(world.clock(), -1, "rollout", detail))
            live = None if status.ended else live
        fleet.run(min(look, end - now))
    return changes


@contextmanager
def own_world(scenario: Scenario, versions: Sequence[Files], folder: Path) -> Iterator[World]:
    """A service for one scenario: in this process on a simulated clock, else a process over HTTP."""
    if scenario.clock == "simulated":
        from acclimate.simulation.local_service import LocalService  # and with it the service's framework

        clock = SimulatedClock()
        local = LocalService(folder / "service", versions, clock, scenario.service.tick, scenario.seed)
        try:
            yield local
        finally:
            local.close()
        return
    home = folder / "service"
    root = sign_repository(versions, home / "tuf")
    with ServiceProcess(home, TICK_S="0.5", DEVICE_RATE="0", ANONYMOUS_RATE="0") as service:
        yield ServedWorld(service.url, service.token, root)


def factory_for(scenario: Scenario, given: Files | None) -> Files:
    """The bundle that devices are shipped with.

    Raises:
        ScenarioError: recordings need a bundle made from them, or the one that is given is not whole.
    """
    if given is not None:
        try:
            read_bundle(given.get)
        except BundleError as error:
            raise ScenarioError(
                f"the bundle cannot be used: {error}; give the folder that `acclimate export` wrote"
            ) from None
        return given
    if scenario.stream.source == "gestures":
        return tiny_bundle()
    raise ScenarioError(
        f"scenario {scenario.name!r} replays {scenario.stream.source!r}: pass --bundle with the folder that "
        "`acclimate export` wrote for a version trained on it"
    )


def versions_of(scenario: Scenario, factory: Files) -> list[Files]:
    """The factory's bundle, and each version of the scenario, made from it."""
    first = release_of(factory).version
    made: list[Files] = [factory]
    for rollout in scenario.rollouts:
        if rollout.version <= first:
            raise ScenarioError(
                f"rollouts: version {rollout.version} is not above the factory's {first}: count on from there"
            )
        made.append(next_version(factory, rollout.version, rollout.behaviour, scenario.seed))
    return made


def check_fit(streams: Streams, factory: Files) -> None:
    """See whether devices with this bundle can read these streams.

    Raises:
        ScenarioError: the shapes differ, or the bundle does not know the labels or targets.
    """
    x, target = streams.feed(0, random.Random(0)).next()
    manifest = loads(Manifest, factory[MANIFEST], 10**6)
    if tuple(x.shape) != tuple(manifest.input.shape):
        raise ScenarioError(
            f"the recordings have examples of shape {tuple(x.shape)}, the bundle takes "
            f"{tuple(manifest.input.shape)}: use a bundle trained on them"
        )
    if unknown := [label for label in streams.labels if label not in manifest.output.labels]:
        raise ScenarioError(
            f"the recordings have the label {unknown[0]!r}, which the bundle does not know (it has "
            f"{', '.join(manifest.output.labels) or 'none'}): use a bundle trained on them"
        )
    try:
        Schema(manifest, allow_constant=True).target(target)
    except LabelError as error:
        raise ScenarioError(f"the recordings do not fit the bundle: {error}") from None
