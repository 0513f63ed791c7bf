import dataclasses
from pathlib import Path

import pytest

from acclimate.errors import RecipeError
from acclimate.learners import LearnerConfig
from acclimate.tasks import EpisodePlan
from acclimate.training.recipe import EpisodesSection, LearnerSection, Recipe
from acclimate.training.recipe_file import load_recipe, recipe_keys, shipped_recipes, to_yaml


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


MINIMAL = "name: waves\ndata: {source: sinusoid}\n"


def test_every_shipped_recipe_is_valid_and_says_what_it_is() -> None:
    assert {"watch", "sinusoid", "parking"} <= set(shipped_recipes())
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description


def test_a_recipe_survives_writing_and_reading(tmp_path: Path) -> None:
    recipe = load_recipe("watch")
    assert load_recipe(written(tmp_path, to_yaml(recipe))) == recipe


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sed: 1", "unknown key 'sed': did you mean 'seed'?"),
        ("training: {step: 3}", "unknown key 'training.step': did you mean 'steps'?"),
        ("training: {optimizer: {lrr: 3}}", "unknown key 'training.optimizer.lrr': did you mean 'lr'?"),
        ("training: {steps: many}", "training.steps is 'many'"),
        ("training: {steps: 0}", "training.steps is 0"),
        ("training: {meta_batch: 10, shard: 4}", "meta_batch 10 is no multiple of training.shard 4"),
        ("learner: {serial: true}", "learner.serial belongs to reptile"),
        ("evaluation: {steps: [5, 1]}", "list them ascending"),
        ("seed: 1\nseed: 2", "'seed' appears twice"),
        ("seed: [", "is not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, MINIMAL + line))
    assert message in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.source is missing"):
        load_recipe(written(tmp_path, "name: waves\ndata: {}\n"))
    with pytest.raises(RecipeError, match=r"holds a list"):
        load_recipe(written(tmp_path, "- name\n"))
    with pytest.raises(RecipeError, match="one of air, gas-drift, parking"):
        load_recipe("turbines")
    with pytest.raises(RecipeError, match="did you mean 'watch'"):
        load_recipe("wacth")


def test_changes_reach_their_key_and_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    changed = load_recipe(path, ["training.optimizer.lr=1e-2", "seed=7", "evaluation.shots=[3]"])
    assert (changed.training.optimizer.lr, changed.seed, changed.evaluation.shots) == (0.01, 7, (3,))
    for change, message in (
        ("seed", "is not KEY=VALUE"),
        ("seeed=1", "did you mean 'seed'"),
        ("name.x=1", "no section"),
        ("seed=[", "is not YAML"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_recipe(path, [change])


def test_only_what_decides_the_bits_decides_the_hash(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    same = ("name=other", "training.workers=7", "training.checkpoint_every=3", "evaluation.draws=9")
    other = ("seed=1", "training.shard=8", "training.steps=7", "learner.inner_lr=0.3", "data.test=3")
    expected = load_recipe(path).content_hash()
    assert {load_recipe(path, [change]).content_hash() for change in same} == {expected}
    assert expected not in {load_recipe(path, [change]).content_hash() for change in other}


def test_every_key_is_explained() -> None:
    keys = {key: meaning for key, _, meaning in recipe_keys()}
    assert keys["training.optimizer.lr"] == "step size of the outer loop"
    assert all(keys.values())


@pytest.mark.parametrize(
    ("section", "config", "own"),
    [
        (LearnerSection, LearnerConfig, {"loss", "adapt_steps", "exchangeable"}),
        (EpisodesSection, EpisodePlan, {"newest_share", "vary_shots", "newest", "anywhen", "vary"}),
    ],
)
def test_sections_offer_what_the_library_takes_with_the_same_defaults(
    section: type[LearnerSection | EpisodesSection], config: type[LearnerConfig | EpisodePlan], own: set[str]
) -> None:
    ours = {name: field.default for name, field in section.model_fields.items() if name not in own}
    theirs = {field.name: field.default for field in dataclasses.fields(config) if field.name not in own}
    theirs = {name: 5 if default is dataclasses.MISSING else default for name, default in theirs.items()}
    assert ours == theirs


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe("watch").seed = 3  # the point of the test
    assert isinstance(load_recipe("watch"), Recipe)
