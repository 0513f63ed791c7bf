"""Training episodes vary in shots, in time and in how sensors are mounted, by (seed, step, index) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acclimate.errors import DataError
from acclimate.initialization import Normalization
from acclimate.tasks import EpisodePlan, RecordingSchema, TaskPool, build_in_memory, from_arrays
from acclimate.tasks.episodes.augmentation import Augmentation, AugmentedSampler, rotation

TASKS, ROWS = 4, 120


def pool(classes: bool = False, window: int = 1) -> TaskPool:
    """`a` counts the rows of a task, `b` and `c` are noise; labels take turns."""
    rows = np.tile(np.arange(ROWS, dtype=np.float32), TASKS)
    noise = np.random.default_rng(0).normal(size=(2, TASKS * ROWS)).astype(np.float32)
    columns = {"d": np.repeat(np.arange(TASKS), ROWS), "a": rows, "b": noise[0], "c": noise[1], "y": -rows}
    columns["s"] = np.where(rows % 2 == 0, "even", "odd")
    what = {"label": "s"} if classes else {"targets": ("y",)}
    kind = "classification" if classes else "regression"
    schema = RecordingSchema(kind=kind, task="d", channels=("a", "b", "c"), window=window, **what)
    return build_in_memory(from_arrays(columns), schema)


def every(of: TaskPool) -> np.ndarray:
    return np.arange(len(of.task_ids))


@pytest.mark.parametrize("classes", [False, True])
def test_shots_are_drawn_and_none_is_among_them(classes: bool) -> None:
    data = pool(classes)
    cells = 2 if classes else 1
    sampler = data.sampler(every(data), EpisodePlan(5, 4, vary=(0, 2, 5)))
    drawn = sampler.episodes(3, range(60)).support
    shots = drawn.w.reshape(60, cells, 5).sum(-1)
    assert set(shots.flatten().tolist()) == {0.0, 2.0, 5.0}
    assert bool((shots == shots[:, :1]).all()), "the classes of an episode have one number of shots"
    assert bool((drawn.x[drawn.w == 0] == 0).all())
    alone = sampler.episodes(3, [7]).support
    assert torch.equal(alone.w[0], drawn.w[7])


def test_fewer_shots_are_a_random_part_not_the_earliest() -> None:
    data = pool()
    sampler = data.sampler(every(data), EpisodePlan(8, 4, vary=(1,)))
    support = sampler.episodes(0, range(200)).support
    first = support.x[..., 0][support.w > 0]
    assert float(first.mean()) == pytest.approx(ROWS / 4, rel=0.15)


@pytest.mark.parametrize("window", [1, 4])
def test_a_newest_support_is_whole_and_directly_before_its_query(window: int) -> None:
    data = pool(window=window)
    plan = EpisodePlan(6, 5, newest=1.0, query_span=20, anywhen=True, vary=(2, 6))
    episodes = data.sampler(every(data), plan).episodes(1, range(80))
    moments, step = set(), data.info.schema.step
    for row in range(80):
        times, after = (
            half.x[row][half.w[row] > 0][:, 0].reshape(-1, window)[:, at]
            for half, at in ((episodes.support, -1), (episodes.query, 0))
        )
        assert times.diff().eq(step).all(), "consecutive examples"
        assert len(times) in (2, 6)
        assert float(after.min()) > float(times.max())
        assert float(after.max()) <= float(times.max()) + 20 * step + window
        moments.add(float(times.max()))
    assert len(moments) > 10


def test_evaluation_cuts_newest_where_it_always_cuts() -> None:
    data = pool()
    sampler = data.sampler(every(data), EpisodePlan(6, 5, newest=1.0, query_span=20))
    for draw in (0, 1):
        episodes = sampler.every_task(draw)
        assert episodes.support.x[0, :, 0].tolist() == [54.0, 55.0, 56.0, 57.0, 58.0, 59.0]
        assert 60 <= float(episodes.query.x[0, :, 0].min()) <= float(episodes.query.x[0, :, 0].max()) < 80


def test_a_short_task_keeps_a_query() -> None:
    data = pool()
    plan = EpisodePlan(100, 5, newest=1.0, anywhen=True)
    episodes = data.sampler(every(data), plan).episodes(0, range(40))
    assert bool((episodes.query.w.sum(-1) > 0).all())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"vary": (0, 9)}, "vary has 9, but shots is 5"),
        ({"vary": (-1, 2)}, "vary is -1"),
        ({"newest": 1.5}, "newest is 1.5"),
        ({"newest": 0.5, "order": "random"}, "needs order 'time'"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_refused(plan: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        EpisodePlan(5, 4, **plan)


def test_a_turned_sensor_is_turned_alike_in_support_and_query() -> None:
    data = pool(window=3)
    plan, normalization = EpisodePlan(6, 5), Normalization((1.0, 2.0, 3.0), (2.0, 1.0, 0.5))
    plain = data.sampler(every(data), plan, normalization)
    turned = AugmentedSampler(plain, Augmentation((("a", "b", "c"),), rotation=0.3), normalization, 0)
    before, after = plain.episodes(2, [0, 1]), turned.episodes(2, [0, 1])
    mean, scale = (torch.tensor(part).reshape(3, 1) for part in (normalization.mean, normalization.scale))
    turns = []
    for task in range(2):
        recorded, found = (
            torch.cat([half.x[task] * scale + mean for half in (each.support, each.query)]).movedim(1, 0)
            for each in (before, after)
        )
        flat = recorded.reshape(3, -1).double(), found.reshape(3, -1).double()
        matrix = flat[1] @ torch.linalg.pinv(flat[0])
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(3).double(), rtol=0, atol=1e-3)
        torch.testing.assert_close(matrix @ flat[0], flat[1], rtol=0, atol=1e-2)
        turns.append(matrix)
    assert not torch.allclose(turns[0], turns[1], atol=1e-2)
    assert torch.equal(turned.episodes(2, [1]).support.x[0], after.support.x[1])
    assert torch.equal(turned.every_task(0).support.x, plain.every_task(0).support.x)


def test_gains_and_offsets_leave_padding_empty() -> None:
    data = pool(classes=True)
    normalization = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    plain = data.sampler(every(data), EpisodePlan(5, 4, vary=(1,)), normalization)
    drawn = AugmentedSampler(plain, Augmentation(gain=0.2, offset=0.5), normalization, 0).episodes(
        0, range(4)
    )
    assert bool((drawn.support.x[drawn.support.w == 0] == 0).all())
    assert not torch.allclose(drawn.support.x, plain.episodes(0, range(4)).support.x)


def test_a_rotation_keeps_lengths_and_hands() -> None:
    matrix = rotation(np.array([1.0, 0.2, -0.4, 0.1]))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    quarter = rotation(np.array([1.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_unknown_axes_are_named() -> None:
    with pytest.raises(DataError, match="names 'bb', which is no channel: did you mean 'b'"):
        Augmentation((("a", "bb", "c"),), rotation=0.1).check(pool().schema)
    with pytest.raises(DataError, match="name the three channels of each sensor"):
        Augmentation(rotation=0.1).check(pool().schema)
