"""The tasks a pipeline run works on, as a folder that travels between steps: the recipe and its task pool."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from acclimate.files import scratch_folder
from acclimate.tasks import TaskPool, open_tasks
from acclimate.tasks.home import pools
from acclimate.tasks.pool.remote.document import pinned
from acclimate.tasks.pool.stored import is_url
from acclimate.training.problem import data_fingerprint
from acclimate.training.recipe import DataSection, Recipe
from acclimate.training.recipe_file import load_recipe, to_yaml

RECIPE, POOL = "recipe.yaml", "pool"


@dataclass(frozen=True)
class Prepared:
    """What every later step opens.

    Attributes:
        recipe: as its author wrote it; what is registered and named in lineage.
        located: the same, reading the prepared pool and not the source, which may have gone on since.
    """

    recipe: Recipe
    located: Recipe


def pack(recipe_text: str, folder: Path) -> dict[str, str]:
    """Open the recipe's data and write recipe and pool into `folder`; of one in an object store, what it was.

    Returns:
        what to show of the data: source, number of tasks, content hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_text(recipe_text, "utf-8")
    recipe = load_recipe(str(folder / RECIPE))
    (folder / RECIPE).write_text(to_yaml(recipe), "utf-8")
    data = open_tasks(recipe.data.source, options=recipe.data.options, recordings=recipe.data.recordings)
    if isinstance(data, TaskPool) and data.path is not None:
        if is_url(data.path):
            pinned(str(data.path), folder / POOL)
        else:
            shutil.copytree(data.path, folder / POOL, dirs_exist_ok=True)
    shown = {"source": recipe.data.source, "tasks": str(len(data.task_ids))}
    return {**shown, "data_hash": data_fingerprint(data)}


def unpack(folder: Path) -> Prepared:
    """Open what `pack` wrote.

    The pool is kept under ACCLIMATE_HOME by its content hash: a step that is tried again finds it, and where
    the home is shared so do Ray workers on other machines.
    """
    recipe = load_recipe(str(folder / RECIPE))
    if not (folder / POOL).exists():
        return Prepared(recipe, recipe)
    place = pools() / f"pipeline-{TaskPool.open(folder / POOL).info.content_hash[:16]}"
    if not place.exists():
        with scratch_folder(place) as scratch:
            shutil.copytree(folder / POOL, scratch, dirs_exist_ok=True)
    data = DataSection.model_validate(
        {**recipe.data.model_dump(), "source": str(place), "options": {}, "recordings": {}}
    )
    return Prepared(recipe, recipe.model_copy(update={"data": data}))
