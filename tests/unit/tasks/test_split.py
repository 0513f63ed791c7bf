import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, Sinusoids, build_in_memory, from_arrays, split_tasks
from acclimate.tasks.episodes.split import fold_groups


def pool_of_people(people: int = 10, labels: list[str] | None = None):
    """Two tasks a person; person 0 alone may have further labels."""
    person = np.repeat(np.arange(people), 8)
    state = np.tile(["x", "y"], len(person) // 2).tolist()
    state[:2] = labels or state[:2]
    columns = {
        "arm": [f"p{one}-{i % 2}" for i, one in enumerate(person)],
        "person": [f"p{one}" for one in person],
        "a": np.arange(len(person), dtype=np.float32),
        "s": state,
    }
    schema = RecordingSchema(kind="classification", task="arm", group="person", channels=("a",), label="s")
    return build_in_memory(from_arrays(columns), schema)


def owners(pool, tasks) -> set[str]:
    return {pool.groups[task] for task in tasks}


def test_groups_are_never_torn_apart():
    pool = pool_of_people()
    for seed in range(20):
        split = split_tasks(pool, test=0.3, validation=2, seed=seed)
        parts = [owners(pool, tasks) for tasks in (split.train, split.validation, split.test)]
        assert [len(part) for part in parts] == [5, 2, 3]
        assert len(set.union(*parts)) == 10
        assert sum(map(len, (split.train, split.validation, split.test))) == 20


def test_the_seed_decides():
    pool = pool_of_people()
    tests = [tuple(split_tasks(pool, test=3, seed=seed).test) for seed in (1, 1, 2, 3)]
    assert tests[0] == tests[1]
    assert len(set(tests)) == 3


def test_named_groups_are_held_out_by_pattern():
    pool = pool_of_people()
    assert owners(pool, split_tasks(pool, test_groups=["p3", "p[78]"]).test) == {"p3", "p7", "p8"}
    with pytest.raises(DataError, match="no group matches 'q"):
        split_tasks(pool, test_groups=["q*"])


def test_folds_test_every_group_once():
    pool = pool_of_people()
    tested = fold_groups(pool, 4, seed=5)
    assert sorted(len(part) for part in tested) == [2, 2, 3, 3]
    assert sorted(name for part in tested for name in part) == sorted(set(pool.groups))
    with pytest.raises(DataError, match="folds is 11"):
        fold_groups(pool, 11)


def test_a_label_that_no_training_task_has_is_refused():
    pool = pool_of_people(labels=["z", "z"])
    with pytest.raises(DataError, match="'z' occur in held-out tasks only"):
        split_tasks(pool, test_groups=["p0"])
    assert owners(pool, split_tasks(pool, test_groups=["p1"]).test) == {"p1"}


@pytest.mark.parametrize("share", [1.0, -0.5, -1, 10, 99])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(DataError, match=r"test is|no task is left"):
        split_tasks(pool_of_people(), test=share)


def test_generated_tasks_split_like_recorded_ones():
    split = split_tasks(Sinusoids(tasks=1000), test=100, validation=0.1)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [800, 100, 100]
