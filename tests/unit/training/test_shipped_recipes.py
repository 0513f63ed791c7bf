"""Every shipped recipe loads and names data that there is."""

from __future__ import annotations

import inspect

import pytest

from acclimate.tasks import RecordingSchema
from acclimate.tasks.datasets.catalog import DATASETS
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe, shipped_recipes


@pytest.fixture(params=sorted(shipped_recipes()))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return load_recipe(request.param)


def test_recipes_are_called_like_their_files_and_described_in_a_line() -> None:
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert 0 < len(recipe.description) <= 110, name


def test_a_recipe_names_a_data_set_with_options_it_has_or_declares_its_columns(recipe: Recipe) -> None:
    data = recipe.data
    if data.source in DATASETS:
        assert not data.recordings
        assert set(data.options) <= set(inspect.signature(DATASETS[data.source].load).parameters) - {"files"}
    else:
        schema = RecordingSchema.from_dict(data.recordings)
        assert data.source.endswith(".parquet"), "a recipe without a named data set takes Parquet"
        assert schema.task not in schema.channels, "a task's name would be an input"


def test_a_recipe_measures_the_shots_a_device_adapts_with(recipe: Recipe) -> None:
    assert recipe.episodes.shots in recipe.evaluation.shots
