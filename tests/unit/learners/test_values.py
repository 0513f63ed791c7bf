"""What learners pass around never changes: one value serves every task."""

from typing import Any

import pytest

from acclimate import learners
from tests.support.values import values_of


@pytest.mark.parametrize("value", values_of(learners), ids=lambda value: value.__name__)
def test_a_value_never_changes(value: Any):
    assert value.__dataclass_params__.frozen
