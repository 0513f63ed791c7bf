"""YAML as people and programs write it: read as it was meant, or refused in words that end somewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acclimate.documents import mapping_in, parse_yaml
from acclimate.errors import RecipeError, ScenarioError
from acclimate.simulation.scenario_file import load_scenario
from acclimate.training.recipe_file import load_recipe, shipped_recipes

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!int x",
        "seed: !!float x",
        "seed: !!bool x",
        "seed: !!timestamp x",
        "seed: " + "9" * 5_000,
        "? [a, b]\n: c",
        "? {a: 1}\n: c",
        "a: " + "[" * 20_000,
        "[" * 500 + "]" * 500,
        "seed: 1\nseed: 2",
        "a: 1\n---\na: 2",
        "a:\n\t- b",
        "a: !!python/object/apply:os.system [id]",
        "<<: 3",
        "a: *nobody",
        "",
        "- a",
    ],
)
def test_what_is_no_document_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"given\.yaml") as raised:
        mapping_in(path, RecipeError)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("content", [b"\xff\xfea\x00", b"a: \xe4", b"\x00"])
def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"given\.yaml"):
        mapping_in(path, RecipeError)


@pytest.mark.parametrize("written", [b"\xef\xbb\xbfa: 1\n", b"a: 1\r\n", b"a: 1", b"--- \na: 1\n...\n"])
def test_marks_and_line_ends_of_any_editor_change_nothing(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "given.yaml"
    path.write_bytes(written)
    assert mapping_in(path, RecipeError) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [(name, name) for name in ("007", "-07", "12:30:45", "2024-01-01", "2024-13-45", "on", "no", "=", "1e3")]
    + [
        ("10", 10),
        ("0", 0),
        ("-3", -3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1.5e+3", 1500.0),
        (".inf", float("inf")),
    ],
)
def test_names_of_digits_stay_names(text: str, value: object) -> None:
    assert parse_yaml(f"[{text}]") == [value]


@given(
    st.recursive(st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(), st.lists)
)
def test_what_we_write_is_what_we_read(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize("key", ["name", "seed", "data", "training"])
def test_a_wrong_value_of_any_size_is_told_in_short(tmp_path: Path, key: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(f"{BOMB}{key}: *g\n")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert len(str(raised.value)) < 10_000


@pytest.mark.parametrize("change", ["seed=[[", "seed=" + "9" * 5_000, "seed=" + "[" * 5_000, "seed=!!int x"])
def test_a_change_that_is_no_yaml_is_refused(change: str) -> None:
    with pytest.raises(RecipeError, match="change") as raised:
        load_recipe("sinusoid", [change])
    assert len(str(raised.value)) < 1_000


def test_a_name_that_is_nearly_a_shipped_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"'wath' \(No such file or directory\): did you mean 'watch'\?"):
        load_recipe("wath")
    with pytest.raises(ScenarioError, match=r"did you mean 'gestures'\?"):
        load_scenario("gesture")
    with pytest.raises(ScenarioError, match="give a YAML file or one of gas-drift, gestures, sensors, watch"):
        load_scenario("zzz")
    assert list(shipped_recipes()) == sorted(shipped_recipes())
