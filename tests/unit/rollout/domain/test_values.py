"""What the rules pass around never changes, and is small: a fleet has a hundred thousand devices."""

from typing import Any

import pytest

from acclimate.rollout import domain
from tests.support.values import values_of


@pytest.mark.parametrize("value", values_of(domain), ids=lambda value: value.__name__)
def test_a_value_of_the_rules_never_changes_and_has_no_dictionary(value: Any):
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)
