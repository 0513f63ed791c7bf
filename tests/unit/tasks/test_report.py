import numpy as np
import pytest

from acclimate.tasks import (
    EpisodePlan,
    RecordingSchema,
    build_in_memory,
    from_arrays,
    open_dataset,
    report_on,
    stream,
)
from acclimate.tasks.report import DataReport
from tests.support.recordings import DATA, recorded

SCHEMA = RecordingSchema(
    kind="classification",
    task="d",
    group="g",
    channels=("a", "b", "c"),
    label="s",
    window=4,
    stride=4,
    missing="drop",
    timeline="label",
)


def defective():
    """Task 1 copies task 0 under another owner, task 2 is too short, task 3 has a stuck sensor and gaps."""
    random = np.random.default_rng(0)
    parts = [random.normal(size=(80, 3)).astype(np.float32) for _ in range(4)]
    parts[1] = parts[0].copy()
    parts[2] = parts[2][:3]
    parts[3][:, 1] = 5
    parts[3][10, 0] = np.nan
    lengths = [len(part) for part in parts]
    values = np.concatenate(parts)
    values[:, 2] = 1
    state = np.concatenate([["x"] * (length // 2) + ["y"] * (length - length // 2) for length in lengths])
    state[-40:] = "x"
    columns = {
        "d": np.repeat(["t0", "t1", "t2", "t3"], lengths),
        "g": np.repeat(["g0", "g1", "g2", "g3"], lengths),
    }
    columns |= {name: values[:, index] for index, name in enumerate("abc")} | {"s": state}
    return build_in_memory(from_arrays(columns), SCHEMA)


@pytest.fixture(scope="module")
def found() -> DataReport:
    return report_on(defective(), EpisodePlan(shots=5, query_shots=4))


def test_figures(found):
    assert (found.rows, found.tasks, found.groups) == (243, 4, 4)
    assert found.examples == {"t0": 20, "t1": 20, "t2": 0, "t3": 19}
    assert found.labels == {"x": 39, "y": 20}
    assert found.missing == {"a": 1}
    assert found.missing_tasks == {"t3": 1}


def test_defects_are_found_and_each_has_a_remedy(found):
    assert found.constant == {"b": ["t3"], "c": ["t0", "t1", "t2", "t3"]}
    assert found.duplicates == [["t0", "t1"]]
    assert found.short == ["t2"]
    assert found.incomplete == {"t3": ["y"]}
    assert all(finding.remedy for finding in found.findings)
    text = {finding.what: finding.severity for finding in found.findings}
    assert (
        text["tasks 't0', 't1' hold the same data, under different owners: a held-out one may be trained on"]
        == "warning"
    )
    assert text["channel 'c' never changes in any task"] == "warning"
    assert text["1 of 4 task(s) are too short: 't2'"] == "note"
    assert text["missing values: 1 in 'a', in 1 task(s)"] == "note"


def test_what_would_stop_training_is_an_error():
    strict = report_on(defective(), missing="error")
    assert [finding.severity for finding in strict.findings if "missing" in finding.what] == ["error"]
    hopeless = report_on(defective(), EpisodePlan(shots=5, gap=1000))
    assert any(finding.severity == "error" and "too short" in finding.what for finding in hopeless.findings)


def test_labels_in_blocks_on_one_timeline_are_told_from_short_tasks():
    columns = {"d": [0] * 40, "a": np.arange(40.0), "s": ["x"] * 20 + ["y"] * 20}
    schema = RecordingSchema(kind="classification", task="d", channels=("a",), label="s")
    found = report_on(build_in_memory(from_arrays(columns), schema), EpisodePlan(2, 2))
    assert (found.short, found.one_sided) == ([], ["0"])
    assert [finding.severity for finding in found.findings if "timeline: label" in finding.remedy] == [
        "error"
    ]


def test_clean_data_has_no_finding():
    random = np.random.default_rng(0)
    columns = {"d": np.repeat([0, 1], 100), "a": random.normal(size=200), "y": random.normal(size=200)}
    schema = RecordingSchema(kind="regression", task="d", channels=("a",), targets=("y",))
    assert report_on(build_in_memory(from_arrays(columns), schema), EpisodePlan(5)).findings == []


def test_a_stream_runs_through_one_task_in_time():
    source = from_arrays(
        {
            "d": ["u", "v"] * 300,
            "t": np.arange(600)[::-1].astype(float),
            "a": np.arange(600.0)[::-1],
            "s": np.tile(["x", "x", "y", "y", "z", "z"], 100),
        }
    )
    schema = RecordingSchema(kind="classification", task="d", time="t", channels=("a",), label="s")
    pool = build_in_memory(source, schema)
    examples = list(stream(pool, pool.index("v")))
    assert [float(one.x[0]) for one in examples] == list(np.arange(0.0, 600.0, 2.0))
    assert [one.time for one in examples] == list(np.arange(0.0, 600.0, 2.0))
    assert [int(one.y) for one in examples[:4]] == [2, 1, 0, 2]
    norm = pool.normalization(np.array([0]))
    first = next(stream(pool, 1, norm))
    assert first.x[0] == pytest.approx((0 - norm.mean[0]) / norm.scale[0], rel=1e-5)


def test_the_drifting_array_streams_in_order(tmp_path):
    recorded("gas_drift", "gas_batches.parquet")
    pool = open_dataset("gas-drift", data_dir=DATA, pool_dir=tmp_path, task="array")
    rows = [one.row for one in stream(pool, 0)]
    assert rows == list(range(6697))
