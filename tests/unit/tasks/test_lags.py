"""Examples of a forecast: the rows of the past they take, in rows or in time, and what the calendar says."""

import datetime as dt

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, RecordingSchema, build_in_memory, from_arrays
from acclimate.tasks.lags import input_lags, rows_of
from acclimate_device import calendar

HOUR_S = 3600.0


def pool_of(values, **declared):
    rows = len(values)
    times = np.datetime64("2024-01-01", "s") + np.arange(rows) * np.timedelta64(3600, "s")
    columns = {"d": np.zeros(rows, int), "t": times, "a": np.asarray(values, np.float32)}
    schema = RecordingSchema.from_dict(
        {
            "kind": "forecasting",
            "task": "d",
            "time": "t",
            "channels": ["a"],
            "targets": ["a"],
            "stride": 1,
            "sample_rate_hz": 1 / HOUR_S,
            **declared,
        }
    )
    return build_in_memory(from_arrays(columns), schema)


def examples(pool):
    return pool.sampler(np.arange(1), EpisodePlan(40, 40)).every_task().query


def test_lags_are_one_and_two_seasons_before_each_lead_and_beside_it() -> None:
    # lead 1 of a season of 10: rows 8, 9, 10 back are the season before at -1, 0 and +1, row 19 two before
    assert input_lags(2, (10,), (1,)) == (19, 10, 9, 8, 1, 0)
    # 12 ahead of a season of 10 is two seasons before the nearest known one
    assert set(input_lags(1, (10,), (12,))) == {0, 7, 8, 9, 10, 18}


def test_an_example_holds_the_rows_at_its_lags_and_answers_at_its_leads() -> None:
    pool = pool_of(np.arange(400), window=3, leads=[1, 4], seasons=["24h"])
    schema = pool.schema
    assert (schema.horizon, schema.leads, schema.seasons) == (4, (1, 4), (24,))
    assert pool.input_shape == (1, len(schema.lags))
    assert schema.window == schema.lags[0] + 1 == 48
    x, y, w = examples(pool)
    assert w.min() == 1
    latest = x[0, :, 0, -1]
    for column, lag in enumerate(schema.lags):
        assert (x[0, :, 0, column] == latest - lag).all()
    assert (y[0, :, 0] == latest + 1).all()
    assert (y[0, :, 1] == latest + 4).all()
    assert float(latest.min()) >= 200  # queries are later than the cut


def test_queries_are_made_after_the_last_answer_of_the_support() -> None:
    pool = pool_of(np.arange(400), window=3, leads=[1, 4], seasons=[24])
    episodes = pool.sampler(np.arange(1), EpisodePlan(30, 30)).every_task()
    assert episodes.support.y.max() < episodes.query.x[..., -1].min()
    assert episodes.query.x.min() < episodes.support.y.max(), "a query sees what its device saw"


def test_lengths_of_time_become_rows() -> None:
    assert rows_of("window", "24h", 1 / HOUR_S) == 24
    assert rows_of("window", "1 d", 1 / 1800) == 48
    assert rows_of("window", "2 weeks", 1 / HOUR_S) == 336
    assert rows_of("window", "90min", 1 / 1800) == 3
    assert rows_of("window", 7, None) == 7
    for length, rate, says in (
        ("24h", None, "sample_rate_hz"),
        ("a day", 1.0, "24h"),
        ("1s", 1 / HOUR_S, "less than a row"),
    ):
        with pytest.raises(DataError, match=says):
            rows_of("window", length, rate)


def test_a_gap_takes_the_value_of_a_season_before_and_is_never_an_answer() -> None:
    values = np.sin(np.arange(300) / 24 * 2 * np.pi)
    gone = values.copy()
    gone[[100, 101, 230]] = np.nan
    held = pool_of(gone, window=24, horizon=2, seasons=[24], missing="season")
    assert held.values[:, 0] == pytest.approx(values, abs=1e-5)
    latest = held.starts + held.info.schema.history - 1
    for row in (100, 101, 230):
        assert not set(latest.tolist()) & {row - 1, row - 2}, "a value that was made up is an answer"
    # each example but those that would be answered by one of three rows is there
    everything = len(pool_of(values, window=24, horizon=2, seasons=[24]).starts)
    assert everything - 5 == len(held.starts)


def test_a_dropped_gap_costs_the_examples_that_touch_it_and_no_more() -> None:
    values = np.arange(200.0)
    values[120] = np.nan
    pool = pool_of(values, window=2, horizon=1, seasons=[24], missing="drop")
    latest = pool.starts + pool.info.schema.history - 1
    touched = {120 + lag for lag in pool.info.schema.lags} | {119}
    assert not touched & set(latest.tolist())
    assert len(latest) == 200 - 1 - (pool.info.schema.history - 1) - len(touched)


def test_calendar_inputs_come_from_the_time_column_and_stay_as_they_are() -> None:
    pool = pool_of(np.arange(300.0), window=2, horizon=1, calendar=["day", "week"])
    assert pool.schema.channels == ("a", *calendar.input_names(("day", "week")))
    normalization = pool.normalization(np.arange(1))
    assert normalization.mean[1:] == (0.0,) * 11
    assert normalization.scale[1:] == (1.0,) * 11
    row = 30  # 2024-01-02, a Tuesday, at 6
    sine, cosine, half_sine, half_cosine, *weekday = pool.values[row, 1:].tolist()
    assert (sine, cosine) == pytest.approx((1, 0), abs=1e-6)
    assert (half_sine, half_cosine) == pytest.approx((0, -1), abs=1e-6)
    assert weekday == [0, 1, 0, 0, 0, 0, 0]


def test_the_calendar_knows_every_day_of_a_century() -> None:
    days = [dt.datetime(1969, 12, 1, tzinfo=dt.UTC) + dt.timedelta(days=day) for day in range(0, 36_500, 7)]
    days += [day + dt.timedelta(days=3, hours=13) for day in days]
    made = calendar.inputs(np.array([day.timestamp() for day in days]), ("week", "year"))
    assert made[:, :7].argmax(axis=1).tolist() == [day.weekday() for day in days]
    assert np.abs(made).max() <= 1.0


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"leads": [4, 1]}, "ascending"),
        ({"leads": [1, 4], "horizon": 6}, "the horizon last"),
        ({"horizon": 1, "seasons": [1]}, "at least 2 rows"),
        ({"horizon": 1, "calendar": ["month"]}, "day, week, year"),
        ({"horizon": 1, "missing": "season"}, "`seasons` names none"),
        ({"horizon": "1 fortnight"}, "24h"),
        ({"kind": "regression", "seasons": [24]}, "for forecasting"),
    ],
)
def test_what_does_not_fit_is_said(declared, says) -> None:
    with pytest.raises(DataError, match=says):
        pool_of(np.arange(50.0), **declared)
