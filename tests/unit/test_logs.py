"""Lines of log: what is bound is on each, JSON is JSON, and no token gets through."""

from __future__ import annotations

import json
import logging

import pytest

from acclimate import logs
from acclimate.errors import AcclimateError

TOKEN = "acl_abcdefgh12345678"


def line(formatter: logging.Formatter, message: str, *values: object) -> str:
    return formatter.format(logging.LogRecord("acclimate.x", logging.INFO, "", 0, message, values, None))


def test_json_lines_carry_what_is_bound_and_what_is_said() -> None:
    with logs.bound(request="r-1"), logs.bound(rollout="o-2"):
        told = json.loads(line(logs.JsonFormatter(), "event=opened wave=%d reason=%r", 3, "it is time"))
    assert told["request"] == "r-1"
    assert (told["rollout"], told["event"], told["wave"], told["reason"]) == (
        "o-2",
        "opened",
        "3",
        "it is time",
    )
    assert told["level"] == "info"
    assert "request" not in json.loads(line(logs.JsonFormatter(), "event=later"))


def test_text_names_what_is_bound_once() -> None:
    with logs.bound(rollout="o-2"):
        assert line(logs.TextFormatter(), "event=opened").endswith("event=opened rollout=o-2")
        assert line(logs.TextFormatter(), "event=opened rollout=o-2").count("rollout=") == 1


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter()], ids=["json", "text"])
def test_tokens_are_hidden(formatter: logging.Formatter) -> None:
    assert TOKEN not in line(formatter, "event=refused token=%s", TOKEN)
    with logs.bound(given=TOKEN):
        assert TOKEN not in line(formatter, "event=refused")


def test_wrong_settings_are_named() -> None:
    with pytest.raises(AcclimateError, match="'xml'"):
        logs.chosen_format({"ACCLIMATE_LOG_FORMAT": "xml"})
    with pytest.raises(AcclimateError, match="'loud'"):
        logs.configure_from_environment({"ACCLIMATE_LOG_LEVEL": "loud"})
