"""Parts of the timeline: who answers when, with a time column and without."""

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, RecordingSchema, build_in_memory, from_arrays
from acclimate.tasks.pool.periods import BLOCKS, restricted

ROWS = 1000


def pool_of(timed: bool = True):
    """Two devices of one clock: the second was installed half-way."""
    rows = np.concatenate([np.arange(ROWS), np.arange(ROWS // 2, ROWS)])
    device = np.repeat(["early", "late"], [ROWS, ROWS // 2])
    columns = {"d": device, "t": rows.astype(float), "a": rows.astype(np.float32)}
    schema = RecordingSchema.from_dict(
        {
            "kind": "forecasting",
            "task": "d",
            **({"time": "t"} if timed else {}),
            "channels": ["a"],
            "targets": ["a"],
            "window": 10,
            "horizon": 5,
            "stride": 1,
        }
    )
    return build_in_memory(from_arrays(columns), schema)


def answered(pool, task: int) -> np.ndarray:
    """Values, which are times, of every row that an example of the task answers with."""
    starts = pool.starts[pool.cells[task] : pool.cells[task + 1]]
    return pool.values[starts[:, None] + 10 + np.arange(5), 0]


def test_a_clock_cuts_all_devices_at_one_moment() -> None:
    pool = restricted(pool_of(), 0.6)
    assert answered(pool, 0).max() == answered(pool, 1).max() == 599
    assert len(pool.starts) == int(pool.cells[-1])


def test_without_a_clock_each_task_is_cut_at_its_own_share() -> None:
    pool = restricted(pool_of(timed=False), 0.5)
    assert answered(pool, 0).max() == 499
    assert answered(pool, 1).max() == pytest.approx(749, abs=1)


def test_held_blocks_and_the_rest_share_no_first_answer() -> None:
    pool = pool_of()
    held, fitted = restricted(pool, 0.8, "held"), restricted(pool, 0.8, "fitted")
    held_rows, fitted_rows = (set(np.unique(answered(part, 0)[:, 0])) for part in (held, fitted))
    assert held_rows
    assert not held_rows & fitted_rows
    assert max(held_rows | fitted_rows) < 800
    blocks = {int(row / 799.2 * BLOCKS) for row in held_rows}
    assert blocks == {2, 7, 12, 17}


def test_episodes_come_from_what_is_left() -> None:
    pool = restricted(pool_of(), 0.6)
    episodes = pool.sampler(np.arange(1), EpisodePlan(20, 20)).every_task()
    assert float(episodes.query.y.max()) <= 599
    assert float(episodes.query.w.min()) == 1.0


def test_everything_is_the_pool_itself() -> None:
    pool = pool_of()
    assert restricted(pool, 1.0) is pool


def test_nothing_left_is_said() -> None:
    with pytest.raises(DataError, match=r"data\.until"):
        restricted(pool_of(), 0.005)
    with pytest.raises(DataError, match="until is 0"):
        restricted(pool_of(), 0)
