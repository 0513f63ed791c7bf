"""The compiled pipeline: the order, caching and secrets that were meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate_pipelines.retraining import Cluster, write

STEPS = (
    "prepare",
    "report",
    "meta-train",
    "evaluate",
    "gate",
    "register",
    "export-and-sign",
    "roll-out",
    "watch",
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("compiled") / "retraining.yaml"
    write(path, Cluster())
    return documents(path)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every step, those inside conditions included."""
    found: dict[str, dict[str, Any]] = {}
    for graph in (spec["root"], *spec["components"].values()):
        found |= graph.get("dag", {}).get("tasks", {})
    return found


def test_training_waits_for_the_report_and_acts_wait_for_the_gate(compiled: list[dict[str, Any]]) -> None:
    spec = compiled[0]
    found = tasks(spec)
    assert set(STEPS) <= set(found)
    assert "report" in found["meta-train"]["dependentTasks"]
    root = spec["root"]["dag"]["tasks"]
    assert set(root) == {"prepare", "report", "meta-train", "evaluate", "gate", "condition-1"}
    condition = root["condition-1"]["triggerPolicy"]["condition"]
    assert "pipelinechannel--gate-Output" in condition
    assert "gate" in root["condition-1"]["dependentTasks"]


def test_results_are_kept_for_what_computes_and_never_for_what_acts(compiled: list[dict[str, Any]]) -> None:
    kept = {name for name in STEPS if tasks(compiled[0])[name]["cachingOptions"].get("enableCache")}
    assert kept == {"prepare", "report", "evaluate"}, "an alias in training.start may have moved"


def test_each_step_gets_the_secrets_it_uses_and_no_other(compiled: list[dict[str, Any]]) -> None:
    executors = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    given = {
        name.removeprefix("exec-"): {
            key["secretKey"] for secret in one.get("secretAsEnv", []) for key in secret["keyToEnv"]
        }
        for name, one in executors.items()
    }
    assert {name for name, keys in given.items() if "ACCLIMATE_TOKEN" in keys} == {"roll-out", "watch"}
    assert {name for name, keys in given.items() if "ACCLIMATE_KEY_PASSPHRASE" in keys} == {"export-and-sign"}
    assert given["report"] == given["evaluate"] == set()
    signing = {name for name, one in executors.items() if "secretAsVolume" in one}
    assert signing == {"exec-export-and-sign"}
    claims = {
        name: [mount["pvcNameParameter"]["runtimeValue"]["constant"] for mount in one["pvcMount"]]
        for name, one in executors.items()
    }
    assert {name for name, mounted in claims.items() if Cluster().repository in mounted} == signing
    assert all(Cluster().volume in mounted for mounted in claims.values())


def test_the_names_are_those_of_the_chart(compiled: list[dict[str, Any]]) -> None:
    notes = (Path(__file__).parents[3] / "helm/acclimate/templates/NOTES.txt").read_text()
    for secret in (Cluster().secret, Cluster().signing_secret):
        assert f"create secret generic {secret} " in notes
    executors = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for one in executors.values():
        assert "acclimate/registry-client" in one["podMetadata"]["labels"], (
            "MLflow's network policy asks for it"
        )


def test_nothing_is_installed_when_a_step_starts(compiled: list[dict[str, Any]]) -> None:
    for one in compiled[0]["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(one["container"]["command"])
        assert one["container"]["image"] == Cluster().image
        assert one["container"]["resources"]["memoryLimit"]


def test_compile_writes_what_the_cluster_is_told_to_be(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    result = CliRunner().invoke(
        cli,
        [
            "pipeline",
            "compile",
            "-o",
            str(path),
            "--image",
            "registry.example/mine:2",
            "--volume",
            "mine",
            "--training-cpu",
            "7",
            "--training-memory",
            "9Gi",
            "--pull-secret",
            "registry",
            "--node-selector",
            "pool=training",
        ],
    )
    assert result.exit_code == 0, result.output
    spec, platform = documents(path)
    images = {one["container"]["image"] for one in spec["deploymentSpec"]["executors"].values()}
    assert images == {"registry.example/mine:2"}
    limits = spec["deploymentSpec"]["executors"]["exec-meta-train"]["container"]["resources"]
    assert limits["resourceCpuLimit"] == "7"
    assert limits["resourceMemoryLimit"] == "9Gi"
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["exec-watch"]["pvcMount"][0]["pvcNameParameter"]["runtimeValue"]["constant"] == "mine"
    assert {pod["imagePullSecret"][0]["secretName"] for pod in pods.values()} == {"registry"}
    placed = {name for name, pod in pods.items() if "nodeSelector" in pod}
    assert placed == {f"exec-{name}" for name in ("prepare", "report", "meta-train", "evaluate", "gate")}
    assert pods["exec-gate"]["nodeSelector"] == {"labels": {"pool": "training"}}
