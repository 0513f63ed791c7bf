import math

import numpy as np
import torch

from acclimate.tasks import EpisodePlan, Sinusoids, split_tasks

PLAN = EpisodePlan(shots=10, query_shots=7)


def test_tasks_are_the_papers_sine_waves():
    source = Sinusoids(tasks=500, seed=4)
    amplitude, phase = source.parameters.T
    assert 0.1 <= amplitude.min() < 0.3
    assert 4.8 < amplitude.max() <= 5
    assert phase.min() >= 0
    assert 3.0 < phase.max() <= math.pi
    episodes = source.sampler(np.arange(500), PLAN).every_task()
    assert episodes.support.x.shape == (500, 10, 1)
    assert episodes.query.y.shape == (500, 7, 1)
    x = episodes.query.x[..., 0].double().numpy()
    expected = amplitude[:, None] * np.sin(x - phase[:, None])
    np.testing.assert_allclose(episodes.query.y[..., 0].numpy(), expected, atol=1e-5)
    assert np.abs(x).max() <= 5


def test_episodes_depend_on_seed_step_and_index_only():
    source = Sinusoids(tasks=100)
    split = split_tasks(source, test=20)
    assert len(split.test) == 20
    sampler = source.sampler(split.train, PLAN, seed=1)
    whole = sampler.episodes(5, range(8))
    shard = sampler.episodes(5, [6, 2])
    assert torch.equal(whole.support.x[[6, 2]], shard.support.x)
    assert torch.equal(whole.query.y[[6, 2]], shard.query.y)
    assert len(set(whole.task_ids)) == 8
    assert not torch.equal(whole.support.x, sampler.episodes(6, range(8)).support.x)
    other = source.sampler(split.train, PLAN, seed=2).episodes(5, range(8))
    assert not torch.equal(whole.support.x, other.support.x)
