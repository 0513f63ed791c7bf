"""The registry against real MLflow: the embedded SQLite store, and a server process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from acclimate.errors import RegistryError
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.registry import Registry, VersionInfo
from acclimate.registry.server import serving

pytestmark = pytest.mark.slow


def an_initialization(fill: float = 0.5) -> Initialization:
    return Initialization(
        params={"0.weight": torch.full((2, 3), fill)},
        model=ModelSpec("mlp", (3,), 2),
        schema=InputSchema("classification", ("a", "b", "c"), labels=("x", "y")),
        normalization=Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        adaptation=AdaptationPolicy(steps=5, inner_lr=0.1, shots=5),
        learner="maml",
    )


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Registry.open()


def register(registry: Registry, fill: float = 0.5, run_id: str | None = None, **changes: Any) -> VersionInfo:
    run_id = run_id or registry.start_run("watch", "one", {}).run_id
    arguments: dict[str, Any] = {
        "experiment": "watch",
        "run_id": run_id,
        "evaluation": {"metric": "accuracy"},
        "files": {"recipe.yaml": "name: watch\n"},
        "lineage": {"data_hash": "d1"},
        "metrics": {"accuracy": 0.9},
    }
    return registry.register("watch", an_initialization(fill), **{**arguments, **changes})


def test_a_version_comes_back_bit_for_bit_with_its_lineage(registry: Registry) -> None:
    version = register(registry)
    initialization, fetched = registry.fetch("watch")
    assert initialization.content_hash() == an_initialization().content_hash() == fetched.content_hash
    assert fetched == version
    assert (version.version, version.aliases, version.tags["data_hash"]) == (1, ("candidate",), "d1")
    assert version.model_id.startswith("m-")
    assert registry.evaluation("watch", "1") == {"metric": "accuracy"}


def test_the_alias_moves_to_the_newest_and_back_on_request(registry: Registry) -> None:
    register(registry, 0.1)
    register(registry, 0.2)
    assert [(each.version, each.aliases) for each in registry.versions("watch")] == [
        (2, ("candidate",)),
        (1, ()),
    ]
    registry.set_alias("watch", "candidate", 1)
    assert registry.version("watch", "candidate").version == 1


def test_registering_the_same_content_from_the_same_run_twice_makes_one_version(registry: Registry) -> None:
    run_id = registry.start_run("watch", "one", {}).run_id
    first = register(registry, run_id=run_id)
    assert register(registry, run_id=run_id).version == first.version
    assert len(registry.versions("watch")) == 1


STAGES = (
    "log_model_artifacts",
    "finalize_logged_model",
    "log_metric",
    "create_model_version",
    "set_registered_model_alias",
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_half_way_leaves_no_version(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the network is gone")

    run_id = registry.start_run("watch", "one", {}).run_id
    with monkeypatch.context() as broken:
        broken.setattr(registry.client, stage, fail)
        with pytest.raises(ConnectionError):
            register(registry, run_id=run_id)
    assert registry.versions("watch") == []
    assert register(registry, run_id=run_id).aliases == ("candidate",)


def test_changed_files_are_not_fetched(registry: Registry, tmp_path: Path) -> None:
    register(registry)
    [stored] = (tmp_path / "artifacts").rglob("initialization.json")
    stored.write_text(stored.read_text().replace('"inner_lr": 0.1', '"inner_lr": 9.0'))
    with pytest.raises(RegistryError, match="do not deploy"):
        registry.fetch("watch")


def test_a_run_keeps_its_parameters_curves_and_files(registry: Registry, tmp_path: Path) -> None:
    recorder = registry.start_run("watch", "first", {"recipe_hash": "abc"})
    recorder.log_params({"learner.name": "maml", "seed": 3})
    recorder.log_metrics([(step, {"loss": 1.0 / step}) for step in range(1, 2500)])
    recorder.log_text("name: watch\n", "recipe.yaml")
    recorder.log_input("watch", "ab" * 32, "data/watch.parquet", 12)
    recorder.end("FINISHED")
    [run] = registry.runs("watch")
    assert (run.name, run.status, run.tags) == ("first", "FINISHED", {"recipe_hash": "abc"})
    assert run.metrics["loss"] == pytest.approx(1 / 2499)
    assert len(registry.client.get_metric_history(run.run_id, "loss")) == 2499
    [data] = registry.client.get_run(run.run_id).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("watch", "ab" * 18)
    assert json.loads(data.dataset.source) == {"uri": "data/watch.parquet"}
    registry.continue_run(run.run_id)
    assert registry.runs()[0].status == "RUNNING"


@pytest.mark.parametrize(
    "names",
    [
        ("KWH/hh (per half hour) ", "Vibration [mm/s]", "Luftfeuchte in %", "../x", "m//s", "", "."),
        ("a%", "a°", "a_"),
        (300 * "x" + "1", 300 * "x" + "2"),
        ("温度", "a\nb", "a\x00b"),
    ],
)
def test_names_of_strangers_columns_are_kept_apart_as_far_as_mlflow_takes_them(
    registry: Registry, names: tuple[str, ...]
) -> None:
    recorder = registry.start_run("watch", "first", {})
    figures = {f"{name}": float(number) for number, name in enumerate(names)}
    recorder.log_metrics(
        [(1, {f"error.{name}.5_shot": value for name, value in figures.items()}), (2, figures)]
    )
    recorder.log_params(figures)
    assert register(registry, run_id=recorder.run_id, metrics=figures).version == 1
    found = registry.client.get_run(recorder.run_id).data
    assert sorted(found.params.values()) == sorted(str(value) for value in figures.values())
    assert sorted(found.metrics.values()) == sorted([*figures.values(), *figures.values()])


def test_an_unreachable_server_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    with pytest.raises(RegistryError, match="no MLflow server answers"):
        Registry.open("http://127.0.0.1:9")
    assert time.monotonic() - started < 30


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with serving(Registry.open().location) as url:
        yield url


def test_a_server_is_used_without_a_word_on_stdout(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Where commands print JSON."""
    capfd.readouterr()
    Registry.open(server).start_run("watch", "one", {}).end("FINISHED")
    assert capfd.readouterr().out == ""


def test_a_server_and_the_embedded_store_behave_alike(server: str) -> None:
    over_http = Registry.open(server)
    version = register(over_http)
    initialization, fetched = over_http.fetch("watch", "latest")
    assert initialization.content_hash() == fetched.content_hash == version.content_hash
    assert Registry.open().version("watch", "candidate") == version
    with pytest.raises(RegistryError, match="no version or alias 'champion'"):
        over_http.fetch("watch", "champion")
