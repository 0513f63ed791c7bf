import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from acclimate.cli.data import data, name_tasks
from acclimate.errors import DataError

DECLARED = """
kind: classification
task: device
time: t
channels: [a, b]
label: state
window: 10
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with recordings of three devices, their declaration and a recipe; ACCLIMATE_HOME is in it."""
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    random = np.random.default_rng(0)
    rows = 900
    frame = pd.DataFrame(
        {
            "device": np.repeat(["d0", "d1", "d2"], rows // 3),
            "t": np.tile(np.arange(rows // 3), 3),
            "a": random.normal(size=rows),
            "b": random.normal(size=rows),
            "state": np.tile(np.repeat(["on", "off"], 50), rows // 100),
        }
    )
    frame.to_parquet(tmp_path / "good.parquet")
    frame.loc[5, "a"] = np.nan
    frame.to_parquet(tmp_path / "gaps.parquet")
    (tmp_path / "declared.yaml").write_text(DECLARED)
    indented = DECLARED.replace("\n", "\n    ")
    (tmp_path / "recipe.yaml").write_text(
        f"name: x\ndata:\n  source: {tmp_path}/good.parquet\n  recordings:{indented}\n"
        "episodes: {shots: 3, query_shots: 2}\n"
    )
    return tmp_path


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(data, [str(one) for one in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_list_names_every_data_set_with_its_options():
    listed = json.loads(run("list", "--json").stdout)
    assert set(listed) == {"watch", "sinusoid", "vibration", "omniglot", "parking", "wisdm", "gas-drift"}
    assert listed["watch"]["options"] == {"window": 100, "stride": None}
    assert "watch" in run("list").output


def test_build_then_report_on_the_pool(files):
    arguments = ("build", files / "good.parquet", "--recordings", files / "declared.yaml", "--json")
    built = json.loads(run(*arguments).stdout)
    assert (built["tasks"], built["rows"], built["input_shape"]) == (3, 900, [2, 10])
    assert json.loads(run(*arguments).stdout) == built
    reported = json.loads(run("report", built["pool"], "--json").stdout)
    assert reported["content_hash"] == built["content_hash"]


def test_a_recipe_says_where_the_data_is_and_how_episodes_are_cut(files):
    reported = json.loads(run("report", files / "recipe.yaml", "--json").stdout)
    assert reported["tasks"] == 3
    assert [one["what"][:22] for one in reported["findings"]] == ["3 device(s) or owner(s"]
    more = json.loads(run("report", files / "recipe.yaml", "--shots", 500, "--json").stdout)
    assert "fewer than 500 support" in more["findings"][0]["what"]


def test_the_name_of_a_shipped_recipe_means_the_recipe():
    named = name_tasks("watch", ("window=50",), None)
    assert named.is_recipe
    assert named.data == {"source": "watch", "options": {"window": 50}, "recordings": {}}
    assert named.episodes["query_shots"] == 5
    assert not name_tasks("omniglot", (), None).is_recipe


def test_a_report_does_not_stop_at_what_it_reports(files):
    declared = ("--recordings", files / "declared.yaml")
    result = run("report", files / "gaps.parquet", *declared, code=1)
    assert "missing values: 1 in 'a'" in " ".join(result.output.replace("│", " ").split())
    with pytest.raises(DataError, match="1 in 'a'"):
        run("build", files / "gaps.parquet", *declared)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "sinusoid"), "generated"),
        (("build", "watch", "-o", "window"), "has no value"),
        (("build", "nowhere.parquet"), "declare its columns"),
        (("build", "nowhere.yaml"), "cannot be read"),
    ],
)
def test_mistakes_are_named(files, arguments, message):
    with pytest.raises(DataError, match=message):
        run(*arguments)
