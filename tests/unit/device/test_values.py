"""What threads of a device pass around never changes: whoever reads it sees it whole."""

from typing import Any

import pytest

from acclimate_device import online, storage, telemetry
from tests.support.values import values_of

CHANGING = {"Support", "_Shelf"}  # the learner's own, behind its lock


@pytest.mark.parametrize(
    "value",
    [*values_of(online), *values_of(storage), *values_of(telemetry)],
    ids=lambda value: value.__name__,
)
def test_a_value_never_changes(value: Any) -> None:
    assert value.__dataclass_params__.frozen == (value.__name__ not in CHANGING)
