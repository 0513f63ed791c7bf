import numpy as np
import pyarrow.parquet as pq
import torch

from acclimate.demo.people import RECORDINGS, arms, record
from acclimate.demo.story import in_wrong_units
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.tasks import open_tasks


def test_recordings_of_people_become_the_tasks_of_their_arms(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    record(["person-03"], tmp_path / "recordings")
    pool = open_tasks(str(tmp_path / "recordings"), recordings=RECORDINGS)
    assert sorted(pool.task_ids) == [*arms(["person-03"], "left"), *arms(["person-03"], "right")]
    record(["person-04"], tmp_path / "recordings")
    assert len(open_tasks(str(tmp_path / "recordings"), recordings=RECORDINGS).task_ids) == 4
    assert [file.name for file in (tmp_path / "recordings").iterdir() if file.suffix != ".parquet"] == []
    assert set(pq.read_table(tmp_path / "recordings" / "person-04.parquet")["person"].to_pylist()) == {
        "person-04"
    }


def test_wrong_units_change_the_normalization_alone_and_the_content_hash():
    channels = ("ax", "ay", "az", "wx", "wy", "wz")
    start = Initialization(
        params={"w": torch.ones(2)},
        model=ModelSpec("mlp", (6, 100), 7, {}),
        schema=InputSchema(kind="classification", channels=channels, window=100, labels=tuple("abcdefg")),
        normalization=Normalization((1.0,) * 6, (2.0,) * 6),
        adaptation=AdaptationPolicy(steps=1, inner_lr=0.1, shots=5),
        learner="maml",
    )
    wrong = in_wrong_units(start)
    factors = np.array([1000.0] * 3 + [180.0 / np.pi] * 3)
    np.testing.assert_allclose(wrong.normalization.mean, factors)
    np.testing.assert_allclose(wrong.normalization.scale, 2.0 * factors)
    assert wrong.params is start.params
    assert wrong.content_hash() != start.content_hash()
