import pytest

from acclimate.simulation.streams import interleaved

READ = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")]


@pytest.mark.parametrize(
    ("whole_rounds", "expected"),
    [(False, ["a1", "b1", "a2", "b2", "a3"]), (True, ["a1", "b1", "a2", "b2"])],
)
def test_labels_take_turns(whole_rounds, expected):
    assert [x for x, _ in interleaved(READ, whole_rounds)] == expected
