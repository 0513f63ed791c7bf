"""The recipes of the three fields on their real data, in small: wherever the data are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.errors import DataError
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow import meta_train
from tests.support.listeners import Quiet

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("ACCLIMATE_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
# recipe: the folder of its data, the Parquet file to name (None: a named data set), held-out tasks
FIELDS = {
    "wisdm": ("wisdm51", None, 12),
    "gas-drift": ("gas_drift", None, 5),
    "parking": ("parking_birmingham30", None, 8),
    "parking-forecast": ("parking_birmingham30", None, 8),
    "servers": ("asd_servers12", "servers.parquet", 4),
    "air": ("beijing_air12", "air.parquet", 4),
}
SMALL = ("training.steps=10", "training.workers=0", "evaluation.draws=1", "evaluation.rates=[0.03]")


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("ACCLIMATE_DATA_DIR", str(DATA))
        yield


@pytest.mark.parametrize("name", FIELDS)
def test_ten_steps_lead_to_a_version_and_a_figure_for_every_held_out_task(name: str) -> None:
    folder, file, held_out = FIELDS[name]
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there: set ACCLIMATE_DATA_DIR to the folder of the data sets")
    source = [f"data.source={DATA / folder / file}"] if file else []
    outcome = meta_train(load_recipe(name, [*SMALL, *source]), listener=Quiet())
    assert outcome is not None
    assert outcome.version.version == 1
    assert len(outcome.evaluation.tasks) == held_out
    for curve in outcome.evaluation.curves:
        assert all(math.isfinite(value) for point in curve.points for value in point.values), curve.start
    assert outcome.plot.stat().st_size > 10_000


def test_a_recipe_without_a_named_data_set_says_which_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"air\.parquet"):
        meta_train(load_recipe("air"), listener=Quiet())
