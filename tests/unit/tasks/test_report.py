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
from acclimate.tasks.report.page import report_page
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
    columns = {"d": np.repeat(range(12), 100), "a": random.normal(size=1200), "y": random.normal(size=1200)}
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


def fleet(tasks: int = 12, rows: int = 160, **columns: object) -> dict:
    """Devices with two channels that say a little about a state."""
    random = np.random.default_rng(0)
    row = np.tile(np.arange(rows), tasks)
    state = row // 20 % 2
    return {
        "d": np.repeat([f"d{one:02d}" for one in range(tasks)], rows),
        "t": row.astype(float),
        "a": 100 + state * 0.5 + random.normal(size=tasks * rows),
        "b": random.normal(size=tasks * rows),
        "s": np.array(["idle", "run"])[state],
        **columns,
    }


def whats(columns: dict, severity: str | None = None, **changes: object) -> list[str]:
    declared = {"kind": "classification", "task": "d", "time": "t", "channels": ["a", "b"], "label": "s"}
    schema = RecordingSchema.from_dict({**declared, "window": 4, "missing": "drop", **changes})
    found = report_on(build_in_memory(from_arrays(columns), schema), EpisodePlan(5, 5)).findings
    return [one.what for one in found if severity is None or one.severity == severity]


def test_a_fleet_in_order_has_no_finding():
    assert whats(fleet()) == []


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_device_with_another_unit_is_found(factor):
    columns = fleet()
    columns["a"] = np.where(columns["d"] == "d05", columns["a"] * factor, columns["a"])
    (what,) = whats(columns, "warning")
    assert "channel 'a' of 'd05' has" in what
    assert "another unit?" in what


def test_leaks_are_found_whether_they_are_classes_or_numbers():
    columns = fleet()
    code = np.where(columns["s"] == "run", 7.0, 3.0) + 0.01 * columns["b"]
    assert any("'b' alone tells the label" in what for what in whats({**columns, "b": code}, "warning"))
    regression = {"kind": "regression", "label": None, "targets": ["y"]}
    columns["y"] = columns["b"] * 3 + 1
    assert any("'b' follows the target 'y'" in what for what in whats(columns, "warning", **regression))
    regression |= {"channels": ["a", "y"]}
    assert any("'y' is among the channels" in what for what in whats(columns, "error", **regression))


def test_what_gaps_cost_is_an_error():
    columns = fleet()
    random = np.random.default_rng(1)
    columns["a"] = np.where(random.random(len(columns["a"])) < 0.15, np.nan, columns["a"])
    columns["b"] = np.where(columns["d"] == "d03", np.nan, columns["b"])
    errors = whats(columns, "error", window=8)
    assert any("of the windows" in what for what in errors)
    assert any("1 of 12 task(s) have no example at all: 'd03'; 1 of them because" in what for what in errors)
    held = whats(columns, "error", window=8, missing="hold")
    assert not any("of the windows" in what for what in held if "d03" not in what)


def test_a_class_without_a_window_is_an_error_and_a_rare_one_is_told():
    columns = fleet()
    columns["s"] = columns["s"].astype(object)
    columns["s"][50:53] = "surge"
    assert any("'surge' have no example" in what for what in whats(columns, "error"))
    columns["s"][50:60] = "surge"
    assert any("'surge' make up less than 2 %" in what for what in whats(columns, "note"))


def test_uneven_and_different_clocks_and_repeated_rows_are_found():
    columns = fleet()
    jitter = columns["t"] + np.random.default_rng(0).uniform(0, 0.9, len(columns["t"]))
    columns["t"] = np.where(columns["d"] == "d02", jitter, columns["t"])
    assert any("'d02': up to" in what for what in whats(columns, "warning"))
    columns = fleet()
    columns["t"] = np.where(columns["d"] == "d02", 2 * columns["t"], columns["t"])
    assert any("'d02': rows come at another rate" in what for what in whats(columns, "warning"))
    twice = {name: np.concatenate([values, values[:40]]) for name, values in fleet().items()}
    assert any("kept: 40 row(s)" in what for what in whats(twice, "warning"))


def test_counters_are_told_and_how_to_use_them():
    columns = fleet()
    columns["a"] = 1.9e9 + columns["t"] * 0.55
    assert any("'a' only rise, to numbers" in what for what in whats(columns, "warning"))
    assert not any("only rise" in what for what in whats(columns, "warning", relative=["a"]))


def test_the_page_holds_findings_intake_and_pictures(tmp_path):
    columns = fleet()
    columns["Vibration [mm/s] <b>"] = columns.pop("b")
    schema = RecordingSchema(
        kind="classification", task="d", time="t", channels=("a", "Vibration [mm/s] <b>"), label="s"
    )
    pool = build_in_memory(from_arrays(columns), schema)
    page = report_page("pumps & fans", pool, report_on(pool))
    assert page.count("data:image/png;base64,") == 4
    assert "Vibration [mm/s] &lt;b&gt; by device" in page
    assert "pumps &amp; fans" in page
