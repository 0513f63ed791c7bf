"""A version that can be exported, in the registry that the environment names."""

from __future__ import annotations

from acclimate.registry import Registry, VersionInfo
from tests.support.bundle_samples import start

POINT = {"mean": 0.9, "quantiles": {"0.05": 0.7, "0.95": 0.97}}
EVALUATION = {
    "format": 1,
    "metric": "accuracy",
    "higher_is_better": True,
    "tasks": ["a", "b", "c"],
    "curves": [{"start": "meta", "shots": 2, "steps": [3], "points": [POINT]}],
}


def register(recipe: str = "name: watch\n") -> VersionInfo:
    """One of a small network, untrained, with its evaluation."""
    registry = Registry.open()
    return registry.register(
        "watch",
        start("mlp", (6,), 3, options={"hidden": (8,)}),
        experiment="watch",
        run_id=registry.start_run("watch", "one", {}).run_id,
        evaluation=EVALUATION,
        files={"recipe.yaml": recipe},
        lineage={},
        metrics={},
    )
