"""Scenarios as YAML: by path or by the name of a shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from acclimate.documents import Documents, keys_of
from acclimate.errors import ScenarioError
from acclimate.simulation.scenario import Scenario

_SCENARIOS = Documents("scenario", resources.files("acclimate") / "simulation" / "scenarios", ScenarioError)


def load_scenario(name_or_path: str, changes: Sequence[str] = ()) -> Scenario:
    """The scenario in a file, or the shipped one of that name, with `a.b=value` changes applied.

    Raises:
        ScenarioError: no such scenario, no YAML, an unknown key, or a value that does not fit.
    """
    return _SCENARIOS.load(Scenario, name_or_path, changes)


def shipped_scenarios() -> dict[str, str]:
    """The text of each scenario inside the package, by name."""
    return _SCENARIOS.shipped()


def scenario_keys() -> list[tuple[str, str, str]]:
    """Every key with its default and meaning, in the order of a scenario."""
    return list(keys_of(Scenario))
