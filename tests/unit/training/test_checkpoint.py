from pathlib import Path

import pytest
import torch

from acclimate.errors import TrainingError
from acclimate.training.checkpoint import (
    Checkpoint,
    check_same_recipe,
    load_checkpoint,
    save_checkpoint,
)
from acclimate.training.recipe_file import load_recipe


def a_checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"param.w": torch.full((3,), float(step))}, {"state": {}}, {"seed": 0})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(a_checkpoint(3), tmp_path / "new" / "meta.pt")
    loaded = load_checkpoint(tmp_path / "new" / "meta.pt")
    assert (loaded.step, loaded.determines) == (3, {"seed": 0})
    assert torch.equal(loaded.meta["param.w"], torch.full((3,), 3.0))


@pytest.mark.parametrize("stage", ["torch.save", "os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_the_old_one_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "meta.pt"
    save_checkpoint(a_checkpoint(1), path)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(stage, fail)
        with pytest.raises(OSError, match="no space"):
            save_checkpoint(a_checkpoint(2), path)
    assert load_checkpoint(path).step == 1
    assert [each.name for each in tmp_path.iterdir()] == ["meta.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04torn"])
def test_a_broken_file_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "meta.pt"
    path.write_bytes(content)
    with pytest.raises(
        TrainingError, match=r"meta\.pt (cannot be read|is not a checkpoint).* without --resume"
    ):
        load_checkpoint(path)


def test_a_checkpoint_runs_no_code_of_its_own(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "written"), "w"))  # type: ignore[return-value]

    torch.save({"format": 1, "step": Evil()}, tmp_path / "meta.pt")
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "meta.pt")
    assert not (tmp_path / "written").exists()


def test_another_recipe_is_refused_with_every_differing_key() -> None:
    recipe = load_recipe("sinusoid")
    checkpoint = Checkpoint(1, {}, {}, recipe.determines())
    check_same_recipe(checkpoint, load_recipe("sinusoid", ["training.workers=7", "evaluation.draws=2"]))
    with pytest.raises(TrainingError) as caught:
        check_same_recipe(checkpoint, load_recipe("sinusoid", ["seed=4", "training.optimizer.lr=0.5"]))
    assert "seed: 0 -> 4" in str(caught.value)
    assert "training.optimizer.lr: 0.003 -> 0.5" in str(caught.value)
