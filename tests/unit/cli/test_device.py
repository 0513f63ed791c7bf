"""Attributes as a person writes them."""

from __future__ import annotations

import pytest

from acclimate.cli.device import _pair


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("-3", -3), ("64", 64), ("1.5", 1.5), ("0", 0)]
    + [
        (name, name)
        for name in ("007", "12e5", "1e400", "nan", "inf", "-infinity", "1_000", "٣", "9" * 5_000, "")
    ],
)
def test_a_number_is_what_json_has_for_one_and_names_stay_names(text: str, value: object) -> None:
    assert _pair(f"batch={text}") == ("batch", value)
