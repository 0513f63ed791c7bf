import numpy as np
import pytest
import torch

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, TaskPool, open_dataset, split_tasks
from acclimate.tasks.datasets import watch


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> TaskPool:
    pool = open_dataset("watch", pool_dir=tmp_path_factory.mktemp("pools"))
    assert isinstance(pool, TaskPool)
    return pool


def test_the_pool_holds_every_recording_as_it_is_in_seglearn(pool):
    data = np.load(watch.locate(), allow_pickle=True).item()
    assert len(pool.task_ids) == 20
    assert len(set(pool.groups)) == 10
    assert pool.values.shape == (244_102, 6)
    of_task = [
        recording
        for recording, subject, side in zip(data["X"], data["subject"], data["side"], strict=True)
        if (int(subject), int(side)) == (3, 1)
    ]
    task = pool.task_ids.index("person-03-right")
    rows = pool.values[pool.rows[task] : pool.rows[task + 1]]
    np.testing.assert_array_equal(rows, np.concatenate(of_task).astype(np.float32))


def test_episodes_have_seven_classes_and_two_second_windows(pool):
    split = split_tasks(pool, test=3, seed=1)
    sampler = pool.sampler(split.train, EpisodePlan(shots=5), pool.normalization(split.train))
    episodes = sampler.episodes(0, range(4))
    assert episodes.support.x.shape == (4, 35, 6, 100)
    assert episodes.query.x.shape == (4, 105, 6, 100)
    assert torch.equal(episodes.support.y[0], torch.arange(7).repeat_interleave(5))
    assert episodes.support.w.min() == 1
    assert sampler.outputs == 7


def test_every_person_is_held_out_once_with_both_arms(pool):
    for person in sorted(set(pool.groups)):
        split = split_tasks(pool, test_groups=[person])
        assert {pool.groups[task] for task in split.test} == {person}
        assert len(split.test) == 2
        assert person not in {pool.groups[task] for task in split.train}


def test_another_file_in_its_place_is_not_unpickled(tmp_path, monkeypatch):
    impostor = tmp_path / "watch_dataset.npy"
    impostor.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr(watch, "locate", lambda: impostor)
    with pytest.raises(DataError, match="reinstall seglearn"):
        watch.read(watch.locate())
