import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pytest

from acclimate_device.errors import ProtocolError, UntrustedError
from acclimate_device.protocol import (
    LIMITS,
    MESSAGES,
    DesiredState,
    Envelope,
    Event,
    PublicKey,
    Release,
    Report,
    ReportBatch,
    Summary,
    dumps,
    json_schema,
    loads,
    read,
    seal,
    unseal,
    write,
)
from acclimate_device.protocol.__main__ import schema_files

RELEASE = Release("watch", 7, "ab" * 32)
STATE = DesiredState("dev-1", "wrists", 3, "run", RELEASE, issued_at=1.5)
REPORT = Report(
    "0" * 32,
    10.0,
    70.0,
    RELEASE,
    3,
    "a",
    predictions=5,
    adapted_loss=Summary(2, 1.5, 1.25, 1.0, ((-2, 1), (0, 1))),
    refusals={"InputError": 2},
    events=(Event(11.0, "drift", "adwin", "loss rose"),),
)


@pytest.mark.parametrize("message", [STATE, RELEASE, REPORT, ReportBatch((REPORT, REPORT))])
def test_what_is_written_is_read_back_and_fits_its_schema(message: object) -> None:
    data = dumps(message)
    assert loads(type(message), data, 10_000) == message
    jsonschema.validate(json.loads(data), json_schema(type(message)))


def test_a_plain_report_takes_no_more_than_the_queue_plans_for() -> None:
    assert len(dumps(replace(REPORT, events=(), refusals={}))) < 400


def test_schema_files_are_those_of_the_code() -> None:
    folder = files("acclimate_device.protocol").joinpath("schemas")
    shipped = {entry.name: entry.read_text() for entry in folder.iterdir()}
    assert shipped == schema_files(), "run: python -m acclimate_device.protocol <folder of the schemas>"
    assert len(shipped) == len(MESSAGES)


def changed(message: object, **fields: object) -> dict[str, object]:
    return {**write(message), **fields}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (changed(STATE, counter=-1), r"DesiredState.counter: -1 lies outside 0"),
        (changed(STATE, counter=True), r"counter: an integer"),
        (changed(STATE, counter=2**53), r"counter: an integer"),
        (changed(STATE, action="explode"), r"action: 'explode' is not one of 'run', 'reset', 'hold'"),
        (changed(STATE, schema=2), r"schema: 2 is not one of 1"),
        (changed(STATE, schema=True), r"schema: True is not one of 1"),
        (changed(STATE, poll_s=float("inf")), r"poll_s: a finite number"),
        (
            changed(STATE, release={"name": "../etc", "version": 1, "content_hash": "ab" * 32}),
            r"release.name",
        ),
        (changed(STATE, release={"name": "x"}), r"release.version: missing"),
        (changed(STATE, service_keys=[{"ed25519": "short"}]), r"service_keys\[0\].ed25519"),
        ({k: v for k, v in write(STATE).items() if k != "schema"}, r"schema: missing"),
        ([], r"an object is expected"),
    ],
)
def test_a_misfit_is_named_by_its_path_and_refused_by_the_schema_too(value: object, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        read(DesiredState, value)
    if "inf" not in repr(value):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, json_schema(DesiredState))


def test_a_state_that_names_nothing_to_run_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"DesiredState\.release: missing, but the action is run"):
        read(DesiredState, {key: value for key, value in write(STATE).items() if key != "release"})


def test_unknown_fields_of_a_newer_writer_are_ignored() -> None:
    assert read(DesiredState, changed(STATE, colour="red")) == STATE


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"counter":NaN}', "[" * 100_000, "\xff", ""])
def test_what_is_not_strict_json_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        loads(DesiredState, text.encode("latin-1"), 1_000_000)


def test_a_message_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ProtocolError, match="at most 10 are accepted"):
        loads(DesiredState, dumps(STATE), 10)
    with pytest.raises(ProtocolError, match="at most 64"):
        read(ReportBatch, {"reports": [write(REPORT)] * (LIMITS.batch_reports + 1), "schema": 1})


def fake_sign(data: bytes) -> bytes:
    return bytes(reversed(data))


def fake_verify(key_id: str, data: bytes, signature: bytes) -> bool:
    return key_id == "aa" * 32 and signature == bytes(reversed(data))


def test_an_envelope_gives_its_message_only_to_who_trusts_the_key() -> None:
    envelope = seal(STATE, fake_sign, "aa" * 32)
    assert unseal(envelope, DesiredState, fake_verify) == STATE
    with pytest.raises(UntrustedError, match="no signature of a trusted key"):
        unseal(seal(STATE, fake_sign, "bb" * 32), DesiredState, fake_verify)
    with pytest.raises(UntrustedError, match="was expected"):
        unseal(envelope, Release, fake_verify)
    with pytest.raises(UntrustedError, match="no signature"):
        unseal(
            replace(envelope, payload=seal(RELEASE, fake_sign, "aa" * 32).payload), DesiredState, fake_verify
        )


def test_the_type_is_part_of_what_is_signed() -> None:
    moved = replace(seal(RELEASE, fake_sign, "aa" * 32), payload_type="application/vnd.acclimate.x.v1+json")
    relabelled = replace(moved, payload_type=seal(STATE, fake_sign, "aa" * 32).payload_type)
    with pytest.raises(UntrustedError):
        unseal(relabelled, DesiredState, fake_verify)


def test_a_key_is_named_by_its_own_hash() -> None:
    key = PublicKey.of(bytes(range(32)))
    assert key.raw == bytes(range(32))
    assert key.key_id == "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
    assert read(Envelope, write(seal(STATE, fake_sign, key.key_id))).signatures[0].key_id == key.key_id
