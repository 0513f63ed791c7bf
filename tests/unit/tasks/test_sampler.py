import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, RecordingSchema, TaskPool, build_in_memory, from_arrays

TASKS = 6


def regression_pool(window: int = 1, stride: int | None = None, rows: int = 200) -> TaskPool:
    """The value of a row is its position in the task, the target its negative; task t has `rows + t` rows."""
    lengths = [rows + task for task in range(TASKS)]
    position = np.concatenate([np.arange(length, dtype=np.float32) for length in lengths])
    source = from_arrays({"d": np.repeat(np.arange(TASKS), lengths), "a": position, "y": -position})
    return build_in_memory(
        source,
        RecordingSchema(
            kind="regression", task="d", channels=("a",), targets=("y",), window=window, stride=stride
        ),
    )


def class_pool(timeline: str, lengths: dict[str, int], interleaved: bool = False) -> TaskPool:
    """One row per example; `a` counts the rows of a task."""
    labels = np.concatenate([[label] * length for label, length in lengths.items()])
    if interleaved:
        labels = np.random.default_rng(0).permutation(labels)
    rows = len(labels)
    columns = {
        "d": np.repeat([f"d{task}" for task in range(TASKS)], rows),
        "a": np.tile(np.arange(rows, dtype=np.float32), TASKS),
        "s": np.tile(labels, TASKS),
    }
    return build_in_memory(
        from_arrays(columns),
        RecordingSchema(kind="classification", task="d", channels=("a",), label="s", timeline=timeline),
    )


def all_of(pool: TaskPool) -> np.ndarray:
    return np.arange(len(pool.task_ids))


@given(
    seed=st.integers(0, 2**40),
    step=st.integers(0, 2**40),
    indices=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_an_episode_depends_on_seed_step_and_index_alone(seed, step, indices):
    sampler = POOL.sampler(all_of(POOL), EpisodePlan(4, 3), seed=seed)
    together = sampler.episodes(step, indices)
    for position, index in enumerate(indices):
        alone = POOL.sampler(all_of(POOL), EpisodePlan(4, 3), seed=seed).episodes(step, [index])
        assert alone.task_ids == together.task_ids[position : position + 1]
        for one, other in zip(
            (*alone.support, *alone.query), (*together.support, *together.query), strict=True
        ):
            assert torch.equal(one[0], other[position])


POOL = regression_pool()


def test_steps_seeds_and_draws_differ():
    sampler = POOL.sampler(all_of(POOL), EpisodePlan(4, 3), seed=1)
    base = sampler.episodes(0, range(6)).support.x
    assert not torch.equal(base, sampler.episodes(1, range(6)).support.x)
    assert not torch.equal(
        base, POOL.sampler(all_of(POOL), EpisodePlan(4, 3), seed=2).episodes(0, range(6)).support.x
    )
    assert not torch.equal(sampler.every_task(0).support.x, sampler.every_task(1).support.x)


def test_tasks_of_a_step_differ_until_all_were_drawn():
    sampler = POOL.sampler(all_of(POOL), EpisodePlan(4, 3))
    for step in range(5):
        ids = sampler.episodes(step, range(2 * TASKS)).task_ids
        assert set(ids[:TASKS]) == set(ids[TASKS:]) == set(POOL.task_ids)
    orders = {sampler.episodes(step, range(TASKS)).task_ids for step in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize(
    ("window", "stride", "gap"), [(1, 1, 0), (1, 1, 7), (10, 5, 0), (10, 3, 12), (4, 9, 1)]
)
def test_support_precedes_query_and_shares_no_row_with_it(window, stride, gap):
    pool = regression_pool(window, stride)
    sampler = pool.sampler(all_of(pool), EpisodePlan(5, 6, gap=gap))
    for step in range(20):
        episodes = sampler.episodes(step, range(TASKS))
        assert episodes.support.w.min() == 1
        assert episodes.query.w.min() == 1
        last_support = episodes.support.x.reshape(TASKS, -1).max(dim=1).values
        first_query = episodes.query.x.reshape(TASKS, -1).min(dim=1).values
        assert (first_query - last_support > gap).all()


def test_windows_are_consecutive_rows_and_targets_belong_to_the_last():
    pool = regression_pool(window=10, stride=3)
    episodes = pool.sampler(all_of(pool), EpisodePlan(5, 6)).episodes(0, range(TASKS))
    x = episodes.query.x
    assert x.shape == (TASKS, 6, 1, 10)
    assert torch.equal(x[..., 1:] - x[..., :-1], torch.ones(TASKS, 6, 1, 9))
    assert (x[..., 0] % 3 == 0).all()
    assert torch.equal(episodes.query.y, -x[..., -1])


def test_forecasts_are_the_rows_after_the_window_step_by_step():
    rows = np.arange(60, dtype=np.float32)
    source = from_arrays({"d": np.zeros(60, int), "a": rows, "b": rows + 1000})
    schema = RecordingSchema(
        kind="forecasting", task="d", channels=("a",), targets=("a", "b"), window=4, stride=1, horizon=3
    )
    pool = build_in_memory(source, schema)
    sampler = pool.sampler(np.arange(1), EpisodePlan(5, 5))
    assert sampler.outputs == 6
    episodes = sampler.every_task()
    last = episodes.query.x[0, :, 0, -1]
    expected = torch.stack([last + 1, last + 1001, last + 2, last + 1002, last + 3, last + 1003], dim=1)
    assert torch.equal(episodes.query.y[0], expected)
    # what a support example forecasts is known before the first query is made
    assert episodes.support.y[0, :, 4].max() < episodes.query.x[..., -1].min()


def test_random_order_mixes_time_and_still_shares_no_row():
    pool = regression_pool(window=10, stride=5, rows=400)
    sampler = pool.sampler(all_of(pool), EpisodePlan(5, 6, order="random"))
    earlier = 0
    for step in range(20):
        episodes = sampler.episodes(step, range(TASKS))
        assert episodes.support.w.min() == 1
        for support, query in zip(episodes.support.x, episodes.query.x, strict=True):
            assert not set(support.flatten().tolist()) & set(query.flatten().tolist())
            earlier += int(query.min() < support.max())
    assert earlier > 100


def test_draws_are_uniform_over_the_examples():
    pool = regression_pool(rows=40)
    sampler = pool.sampler(np.arange(1), EpisodePlan(5, 5))
    seen = np.zeros(20)
    for step in range(400):
        seen += np.bincount(sampler.episodes(step, [0]).support.x.flatten().int(), minlength=20)
    assert seen.sum() == 2000
    chi_square = ((seen - 100) ** 2 / 100).sum()
    assert chi_square < 45  # 19 degrees of freedom: p < 0.001


def test_a_task_without_enough_examples_is_padded_with_weight_zero():
    pool = class_pool("label", {"x": 8, "y": 3, "z": 40})
    episodes = pool.sampler(all_of(pool), EpisodePlan(5, 6)).episodes(0, range(2))
    weights = episodes.support.w.reshape(2, 3, 5)
    assert weights[0].sum(dim=1).tolist() == [4, 1, 5]
    assert episodes.query.w.reshape(2, 3, 6)[0].sum(dim=1).tolist() == [4, 2, 6]
    assert torch.equal(episodes.support.y[0], torch.arange(3).repeat_interleave(5))
    assert (episodes.support.x[episodes.support.w == 0] == 0).all()


def test_on_one_timeline_all_support_precedes_all_query():
    pool = class_pool("task", {"x": 60, "y": 30, "z": 10}, interleaved=True)
    episodes = pool.sampler(all_of(pool), EpisodePlan(5, 6)).episodes(3, range(TASKS))
    support = episodes.support.x[..., 0][episodes.support.w > 0]
    query = episodes.query.x[..., 0][episodes.query.w > 0]
    assert support.max() < 50 <= query.min()


def test_every_task_is_drawn_once_for_evaluation():
    pool = class_pool("label", {"x": 30, "y": 30})
    episodes = pool.sampler(np.array([4, 1, 2]), EpisodePlan(5, 6)).every_task()
    assert episodes.task_ids == ("d4", "d1", "d2")


def test_ways_join_tasks_that_are_one_class():
    rows = np.repeat(np.arange(12), 20)
    source = from_arrays({"c": [f"c{number:02d}" for number in rows], "a": rows.astype(np.float32)})
    pool = build_in_memory(source, RecordingSchema(kind="classification", task="c", channels=("a",)))
    sampler = pool.sampler(np.arange(12), EpisodePlan(2, 3, ways=5, order="random"))
    assert sampler.outputs == 5
    assert len(sampler.schema.labels) == 5
    episodes = sampler.episodes(0, range(50))
    assert episodes.support.x.shape == (50, 10, 1)
    firsts = set()
    for x, ids in zip(episodes.support.x, episodes.task_ids, strict=True):
        classes = [int(name[1:]) for name in ids.split("|")]
        assert len(set(classes)) == 5
        assert x.flatten().tolist() == [float(one) for one in np.repeat(classes, 2)]
        firsts.add(classes[0])
    assert firsts == set(range(12))
    every = sampler.every_task()
    assert len(every.task_ids) == 2
    assert len(set("|".join(every.task_ids).split("|"))) == 10
    with pytest.raises(DataError, match="set `ways`"):
        pool.sampler(np.arange(12), EpisodePlan(2))
    with pytest.raises(DataError, match="leave `ways` out"):
        POOL.sampler(all_of(POOL), EpisodePlan(2, ways=5))


def test_normalization_is_measured_on_the_given_tasks_and_applied():
    random = np.random.default_rng(0)
    values = random.normal(5, 3, (900, 2)).astype(np.float32)
    values[:, 1] = 7
    values[600:] += 100
    columns = {"d": np.repeat([0, 1, 2], 300), "a": values[:, 0], "b": values[:, 1], "y": 10 * values[:, 0]}
    schema = RecordingSchema(kind="regression", task="d", channels=("a", "b"), targets=("y",))
    pool = build_in_memory(from_arrays(columns), schema)
    norm = pool.normalization(np.array([0, 1]))
    np.testing.assert_allclose(norm.mean, values[:600].astype(float).mean(0), rtol=1e-9)
    np.testing.assert_allclose(norm.scale, [values[:600, 0].astype(float).std(), 1.0], rtol=1e-9)
    np.testing.assert_allclose(norm.target_scale, 10 * norm.scale[0], rtol=1e-6)
    episodes = pool.sampler(np.array([0]), EpisodePlan(100, 100), norm).every_task()
    assert abs(episodes.support.x[..., 0].mean()) < 0.3
    assert episodes.support.x[..., 1].abs().max() == 0
    torch.testing.assert_close(episodes.support.y[..., 0], episodes.support.x[..., 0], atol=1e-4, rtol=1e-4)


def test_no_usable_task_is_an_error_before_training():
    pool = regression_pool(window=150, stride=1)
    with pytest.raises(DataError, match=r"0 of 6 task.s. are usable"):
        pool.sampler(all_of(pool), EpisodePlan(5))
    pool = regression_pool(rows=2)
    sampler = pool.sampler(all_of(pool), EpisodePlan(5, gap=1))
    assert sampler.unusable.tolist() == [0]
    assert sampler.tasks.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "plan",
    [
        {"shots": 0},
        {"shots": 1, "query_shots": 0},
        {"shots": 1, "support_fraction": 1.0},
        {"shots": 1, "gap": -1},
    ],
)
def test_an_impossible_plan_is_refused(plan):
    with pytest.raises(DataError, match="must"):
        EpisodePlan(**plan)
