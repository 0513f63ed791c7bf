"""Targets: what matches, and what a wrong one is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.errors import RolloutError
from acclimate.rollout.domain.target import parse_target

DEVICE = {"site": "A", "memory_mb": 64, "firmware": "1.10", "beta": True, "gain": 0.5, "a.b-c": "x"}


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("", True),
        ("   ", True),
        ('site == "A"', True),
        ("site == 'A'", True),
        ('site != "A"', False),
        ("memory_mb >= 64", True),
        ("memory_mb > 64", False),
        ("gain == 0.5", True),
        ("gain < -1", False),
        ("beta == true", True),
        ("beta == 1", False),  # a flag is not a number
        ('memory_mb == "64"', False),  # nor is text
        ('missing == "x"', False),
        ('missing != "x"', False),  # what a device lacks compares with nothing
        ('not missing == "x"', True),
        ("has(beta)", True),
        ("not has(missing)", True),
        ('site in ["B", "A"]', True),
        ("memory_mb in [32, 128]", False),
        ('site == "B" or memory_mb == 64 and beta == true', True),  # and binds tighter
        ('(site == "B" or memory_mb == 64) and beta == false', False),
        ("not not has(site)", True),
        ('a.b-c == "x"', True),
        (r'site == "\"A\""', False),
        ('site=="A"and has(beta)', True),
    ],
)
def test_what_matches(expression: str, matches: bool):
    assert parse_target(expression)(DEVICE) is matches


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("site = A", "position 5"),
        ("site == A", 'put text in quotes: "A"'),
        ("site ==", "expected at position 7, not the end"),
        ("site", "a comparison"),
        ('== "A"', "the name of an attribute is expected at position 0"),
        ('(site == "A"', ") is expected"),
        ('site == "A" memory_mb > 1', "and, or, or the end"),
        ("site in []", "a number, a quoted text"),
        ("has(1)", "the name of an attribute"),
        ('and == "x"', "the name of an attribute"),
        ("site == 1.2.3", "position"),
        ("__import__('os')", "a comparison"),
        ("x == 1 or " * 300 + "x == 1", "at most 2000"),
        ("(" * 40 + "x == 1" + ")" * 40, "nested more than 32"),
        ("not " * 200 + "has(x)", "nested more than 32"),
    ],
)
def test_what_a_wrong_one_is_told(expression: str, complaint: str):
    with pytest.raises(RolloutError) as caught:
        parse_target(expression)
    assert complaint in str(caught.value)


@given(st.text(alphabet="ab=!<>()[]\"',.0123456789 -\\andortheis_\n\t", max_size=60))
def test_any_text_is_a_target_or_a_clear_refusal(expression: str):
    try:
        match = parse_target(expression)
    except RolloutError:
        return  # any other exception is a defect
    assert match(DEVICE) in (True, False)
