"""Lines of log: what is bound is on each, no value forges a field or a line, and no token gets through."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate import logs
from acclimate.errors import SettingsError

ROOT = Path(__file__).parents[2]
TOKEN = "acl_abcdefgh12345678"
JSON, TEXT = logs.JsonFormatter(), logs.TextFormatter()
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def line(formatter: logging.Formatter, message: str, *, name: str = "acclimate.x", **about: object) -> str:
    logger = logging.Logger(name)
    return formatter.format(logger.makeRecord(name, logging.INFO, "", 0, message, (), None, extra=about))


def test_json_lines_carry_what_is_bound_and_what_is_said() -> None:
    with logs.bound(request="r-1"), logs.bound(rollout="o-2"):
        told = json.loads(line(JSON, "opened", wave=3, reason="it is time"))
    assert (told["request"], told["rollout"]) == ("r-1", "o-2")
    assert (told["event"], told["wave"], told["reason"]) == ("opened", 3, "it is time")
    assert told["level"] == "info"
    assert "request" not in json.loads(line(JSON, "later"))


def test_text_quotes_what_is_more_than_a_word() -> None:
    with logs.bound(rollout="o-2"):
        said = line(TEXT, "opened", wave=3, reason="it is time", loss=0.123456789)
    assert said.endswith('INFO event=opened rollout=o-2 wave=3 reason="it is time" loss=0.123457')


values = st.one_of(st.text(), st.just("x\n12:00:00 ERROR event=forged level=error"), st.just('a" event="b'))


@given(values, values)
def test_no_value_forges_a_field_or_a_line(first: str, second: str) -> None:
    told = json.loads(line(JSON, "refused", detail=first, level=second, event=second))
    assert (told["event"], told["level"], told["detail"]) == ("refused", "info", logs.redact(first))
    said = line(TEXT, "refused", detail=first, why=second)
    assert len(said.splitlines()) == 1
    fields = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', said)
    assert [name for name, _ in fields] == ["event", "detail", "why"]
    assert len(line(TEXT, first, name="uvicorn.error").splitlines()) == 1


def test_a_trace_passes_for_no_event() -> None:
    try:
        raise ValueError("no\n12:00:00 INFO event=forged")
    except ValueError as error:
        about = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("acclimate.x", logging.ERROR, "", 0, "defect", (), about)
    first, *rest = TEXT.format(record).splitlines()
    assert first.endswith("event=defect")
    assert all(each.startswith("    ") for each in rest)
    assert "ValueError: no" in json.loads(JSON.format(record))["exception"]


@pytest.mark.parametrize("formatter", [JSON, TEXT], ids=["json", "text"])
def test_tokens_are_hidden(formatter: logging.Formatter) -> None:
    assert TOKEN not in line(formatter, "refused", token=TOKEN, error=ValueError(f"Bearer {TOKEN}"))
    with logs.bound(given=TOKEN):
        assert TOKEN not in line(formatter, f"said {TOKEN}", name="uvicorn.error")


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="ACCLIMATE_LOG_FORMAT is 'xml'"):
        logs.configure_from_environment({"ACCLIMATE_LOG_FORMAT": "xml"})
    with pytest.raises(SettingsError, match="ACCLIMATE_LOG_LEVEL is 'loud'"):
        logs.configure_from_environment({"ACCLIMATE_LOG_LEVEL": "loud"})


def test_every_event_of_the_platform_is_a_constant_with_fields_beside_it() -> None:
    """A formatted message would be text that somebody has to read back."""
    taken = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    for path in [*ROOT.glob("platform/**/*.py"), *ROOT.glob("pipelines/**/*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            if getattr(call.func.value, "id", "") != "log" or call.func.attr not in METHODS:
                continue
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            said = call.args[1:] if call.func.attr == "log" else call.args
            assert len(said) == 1, f"{where}: fields go into extra=, not into the message"
            name = said[0].value if isinstance(said[0], ast.Constant) else getattr(said[0], "id", "")
            assert re.fullmatch(r"[a-z][a-z0-9-]*", str(name)), f"{where}: {name!r} is no event's name"
            keys = [key.value for each in call.keywords for key in getattr(each.value, "keys", []) if key]
            assert not taken & set(keys), f"{where}: {taken & set(keys)} belong to logging itself"
