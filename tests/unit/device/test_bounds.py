"""No field of any message is unbounded, and reader and schema agree on where the bounds are."""

import jsonschema
import pytest

from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import LIMITS, MESSAGES, Report, Summary, TokenRequest, dumps, loads, read
from acclimate_device.protocol.schema import json_schema
from acclimate_device.telemetry import Sketch, merge_reports
from tests.support.extremes import Field, fields, sample, unbounded, with_value

KINDS = [kind for kind in MESSAGES if kind.__name__ != "Manifest"]  # its files must be the five of a bundle
CASES = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}") for kind in KINDS for field in fields(kind)
]


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_text_number_array_and_object_has_bounds(kind: type[object]) -> None:
    assert unbounded(kind) == []


@pytest.mark.parametrize(("kind", "field"), CASES)
def test_reader_and_schema_agree_on_each_edge(kind: type[object], field: Field) -> None:
    message, schema = sample(kind), jsonschema.Draft202012Validator(json_schema(kind))
    if "action" in message:
        message["action"] = "hold"  # the one that may go without a release
    read(kind, message)
    for value in field.good:
        changed = with_value(message, field.path, value)
        read(kind, changed)
        schema.validate(changed)
    for value in field.bad:
        changed = with_value(message, field.path, value)
        with pytest.raises(ProtocolError):
            read(kind, changed)
        unsaid = (
            isinstance(value, bool)
            or "\x00" in repr(value)
            or "\\x00" in repr(value)
            or "\\ud8" in repr(value)
        )
        if not unsaid:  # JSON Schema has no word for NUL, and takes true for a number here and there
            assert not schema.is_valid(changed), value


def test_what_a_device_measures_always_fits_the_protocol() -> None:
    sketch = Sketch()
    for value in (0.0, 5.0, 1e200, 1e308, float("inf"), float("nan")):
        sketch.add(value)
    read(Summary, {**sample(Report)["start_loss"]})
    assert loads(Summary, dumps(sketch.summary()), 10_000) == sketch.summary()
    assert sketch.summary().maximum == LIMITS.number


def test_merging_reports_never_outgrows_the_protocol() -> None:
    most = {field.path: field.good[-1] for field in fields(Report) if len(field.path) == 1}
    one = sample(Report)
    for (name,), value in most.items():
        if isinstance(value, int) and not isinstance(value, bool):
            one[name] = value
    for name in ("start_loss", "adapted_loss"):
        one[name] = {"count": LIMITS.count, "sum": LIMITS.number, "sum_of_squares": LIMITS.number**2}
    one["refusals"] = {f"Error{number}": number + 1 for number in range(32)}
    two = one | {"refusals": {f"Other{number}": number + 1 for number in range(32)}}
    merged = merge_reports(read(Report, one), read(Report, two), "f" * 32)
    assert loads(Report, dumps(merged), 100_000) == merged
    assert sum(merged.refusals.values()) == 2 * sum(range(1, 33))
    assert merged.predictions == LIMITS.count


def test_a_moment_is_one_that_calendars_know() -> None:
    request = sample(TokenRequest)
    with pytest.raises(ProtocolError, match=r"issued_at: 1e\+300 lies outside 0"):
        read(TokenRequest, request | {"issued_at": 1e300})
