"""A rollout's end in the real model registry: the field result on the version, and the alias."""

from pathlib import Path

import pytest
import torch

from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.registry import Registry, VersionInfo
from acclimate.rollout.domain.plan import Gate, Wave
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.store import open_store
from acclimate_device.protocol import Release
from tests.support.rollout_world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Registry.open()


def register(registry: Registry, fill: float) -> VersionInfo:
    start = Initialization(
        params={"0.weight": torch.full((2, 3), fill)},
        model=ModelSpec("mlp", (3,), 2),
        schema=InputSchema("classification", ("a", "b", "c"), labels=("x", "y")),
        normalization=Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        adaptation=AdaptationPolicy(steps=5, inner_lr=0.1, shots=5),
        learner="maml",
    )
    return registry.register(
        "gait",
        start,
        experiment="gait",
        run_id=registry.start_run("gait", "one", {}).run_id,
        evaluation={"metric": "accuracy"},
        files={},
        lineage={},
        metrics={},
    )


def test_success_moves_the_champion_and_writes_what_the_field_said(registry: Registry, tmp_path: Path):
    old, new = register(registry, 0.1), register(registry, 0.2)
    registry.set_alias("gait", "champion", old.version)
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    world = World(
        store,
        300,
        registry=registry,
        release=Release("gait", new.version, new.content_hash),
        waves=(Wave(share=0.6, min_devices=20),),
        gates=(Gate("loss", tolerance=1.0, proof=True), Gate("failure")),
        control_share=0.4,
    )
    world.do("start")
    world.until(State.DONE)
    world.round()
    champion = registry.version("gait", "champion")
    assert champion.version == new.version
    assert champion.tags["field.result"] == "done"
    assert int(champion.tags["field.devices"]) > 50
    assert float(champion.tags["field.loss"]) == pytest.approx(1.0, abs=0.1)
    published = store.audit()[0]
    assert (published.action, published.actor) == ("rollout.publish", "controller")
    assert "champion moved" in published.detail
    store.close()


def test_a_registry_that_is_down_delays_and_loses_nothing(tmp_path: Path):
    from acclimate.errors import RegistryError

    class Down:
        """Refuses as the real one does when its server is gone, then answers."""

        def __init__(self) -> None:
            self.calls, self.aliases = 0, {}

        def version(self, name: str, ref: str) -> Release:
            self.calls += 1
            if self.calls < 3:
                raise RegistryError("the registry cannot be reached")
            return Release(name, int(ref), "b" * 64)

        def set_tags(self, name: str, version: int, tags: object) -> None: ...

        def set_alias(self, name: str, alias: str, version: int) -> None:
            self.aliases[alias] = version

    store, down = open_store(f"sqlite:///{tmp_path / 'rollout.db'}"), Down()
    world = World(store, 300, registry=down, waves=(Wave(share=0.6),), gates=(Gate("failure"),))
    world.do("start")
    world.until(State.DONE)
    for _ in range(4):
        world.round()
    assert down.aliases == {"champion": 2}
    assert store.unpublished() == []
    store.close()
