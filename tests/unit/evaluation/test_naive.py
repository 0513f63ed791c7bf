"""Forecasts without a model, against a loop over the series they come from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from acclimate.evaluation import naive
from acclimate.tasks import EpisodePlan, RecordingSchema, build_in_memory, from_arrays


def pool_of(rows=500, **declared):
    rng = np.random.default_rng(0)
    columns = {"d": np.zeros(rows, int), "a": rng.normal(size=rows), "b": rng.normal(size=rows)}
    schema = RecordingSchema.from_dict(
        {
            "kind": "forecasting",
            "task": "d",
            "channels": ["a", "b"],
            "targets": ["b", "a"],
            "stride": 1,
            "sample_rate_hz": 1 / 3600,
            **declared,
        }
    )
    return build_in_memory(from_arrays(columns), schema), np.stack([columns["b"], columns["a"]], 1)


def test_they_say_what_the_series_said_then() -> None:
    pool, series = pool_of(window=5, leads=[1, 4, 30], seasons=[24, 168])
    normalization = pool.normalization(np.arange(1))
    query = pool.sampler(np.arange(1), EpisodePlan(5, 20), normalization).every_task().query
    found = naive.naive_forecasts(pool.schema)
    assert list(found) == ["last value", "last day", "last week"]
    scale, mean = np.tile(normalization.target_scale, 3), np.tile(normalization.target_mean, 3)
    answers = (query.y[0].numpy() * scale + mean).reshape(-1, 3, 2)
    for example, answer in enumerate(answers):
        (latest,) = np.flatnonzero(np.isclose(series, answer[0], atol=1e-5).all(axis=1)) - 1
        expected = {
            "last value": [series[latest]] * 3,
            "last day": [series[latest + 1 - 24], series[latest + 4 - 24], series[latest + 30 - 48]],
            "last week": [series[latest + lead - 168] for lead in (1, 4, 30)],
        }
        for name, forecast in found.items():
            outputs = forecast(query.x)[0, example].numpy() * scale + mean
            assert outputs.reshape(3, 2) == pytest.approx(np.array(expected[name]), abs=1e-4), name


def test_a_season_the_inputs_do_not_reach_and_a_target_without_a_past_have_none() -> None:
    short, _ = pool_of(window=5, horizon=2)
    assert list(naive.naive_forecasts(short.schema)) == ["last value"]
    unknown, _ = pool_of(window=5, horizon=2, channels=["a"])
    assert naive.naive_forecasts(unknown.schema) == {}


def test_long_windows_reach_seasons_too() -> None:
    pool, _ = pool_of(window=48, horizon=2)
    schema = replace(pool.schema, seasons=(24,))
    x = torch.arange(48.0).expand(1, 2, 48)
    assert naive.seasonal(x, schema, 24).tolist() == [[24, 24, 25, 25]]
