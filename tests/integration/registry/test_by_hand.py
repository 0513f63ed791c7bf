"""What people and other teams do to MLflow beside us: files removed or replaced, models of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.bundle.registered import bundle_of
from acclimate.errors import RegistryError
from acclimate.registry import Registry
from acclimate.workflow.judging import evaluate_version
from tests.support.listeners import Quiet
from tests.support.registered import register

pytestmark = pytest.mark.slow
FILES = ("evaluation.json", "initialization.json", "initialization.safetensors", "recipe.yaml")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of version 1's files in a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        version = register()
        yield Path(Registry.open().client.get_logged_model(version.model_id).artifact_location)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (file, content)
        for file in FILES
        for content in (None, b"", b"garbage", b"[]", b"\xff\xfe\x00", b"{}")
        if (file, content) not in (("recipe.yaml", None), ("recipe.yaml", b"{}"), ("evaluation.json", b"{}"))
    ],  # a version may have no recipe, and one without keys; an evaluation may hold nothing
)
def test_what_was_removed_or_replaced_is_told_with_its_version(
    kept: Path, file: str, content: bytes | None
) -> None:
    path = kept / file
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        with pytest.raises(RegistryError, match="watch version 1") as raised:
            bundle_of(Registry.open(), "watch@1")
    finally:
        path.write_bytes(before)
    assert "/tmp/tmp" not in str(raised.value)


def test_a_run_that_lost_its_files_is_named(kept: Path) -> None:
    with pytest.raises(RegistryError, match=r"of watch version 1 in sqlite.* lost its recipe\.yaml"):
        evaluate_version("watch", "1", listener=Quiet())


def test_models_of_others_are_not_listed_as_ours(kept: Path) -> None:
    client = Registry.open().client
    for name in ("it's", "other team's [model]", "ünï"):
        client.create_registered_model(name)
        client.create_model_version(name, str(kept))
    assert {version.name for version in Registry.open().versions()} == {"watch"}
    assert [version.name for version in Registry.open().versions("ünï")] == ["ünï"]
