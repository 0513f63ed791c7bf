"""What a process writes to standard error: one event a line, as `key=value` text or as JSON.

An event is a constant name, `log.info("rollout-started", extra={"fleet": fleet})`; what it is about stays
apart from it until a line is rendered. Nothing is ever read back out of a text, so no value, whoever gave it,
can pass for another field or another line. Every line also carries what is bound at the time, such as the id
of the request. Tokens never appear: whatever looks like one is hidden on the way out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from acclimate.settings import LogSettings

OURS = ("acclimate", "acclimate_device", "acclimate_pipelines", "uvicorn")
_SECRETS = re.compile(r"\b(acl_|ace_)[A-Za-z0-9_-]{8,}|(?<=Bearer )\S+")
_EVENT = re.compile(r"[a-z][a-z0-9-]*")
_PLAIN = re.compile(r"[\w./:@+,%~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OF_RECORDS = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
_NOTHING: Mapping[str, str] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=_NOTHING)
_sources: list[Callable[[], Mapping[str, str]]] = []


def configure(log_format: str, level: str = "info") -> None:
    """Send this process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    chosen = logging.getLevelNamesMapping()[level.upper()]
    # Libraries talk of themselves at length: of them only what is wrong.
    logging.basicConfig(level=max(chosen, logging.WARNING), handlers=[handler], force=True)
    for ours in OURS:
        logging.getLogger(ours).setLevel(chosen)
    logging.getLogger("uvicorn.access").disabled = True


def configure_from_environment(environ: Mapping[str, str] | None = None, *, quiet: bool = False) -> None:
    """Likewise, as ACCLIMATE_LOG_FORMAT and ACCLIMATE_LOG_LEVEL say.

    Args:
        quiet: for a command at a terminal: only what is wrong, unless JSON or a level is asked for.

    Raises:
        SettingsError: there is no such format or level.
    """
    settings = LogSettings.from_environment(environ)
    asked = settings.log_format == "json" or "log_level" in settings.model_fields_set
    configure(settings.log_format, settings.log_level if asked or not quiet else "warning")


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Every line written inside, in this thread or task, carries `fields`."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bind_from(source: Callable[[], Mapping[str, str]]) -> None:
    """Every line from now on carries what `source` gives when it is written, such as the ids of a trace."""
    if source not in _sources:
        _sources.append(source)


def redact(text: str) -> str:
    """`text` without the tokens in it."""
    return _SECRETS.sub(lambda match: f"{match[1] or ''}[hidden]", text)


class TextFormatter(logging.Formatter):
    """For people: time, level, event, fields. A stack trace follows indented, so it passes for no event."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        told = _told(record)
        said = [f"event={told.pop('event')}"] if "event" in told else [_one_line(told.pop("message"))]
        fields = [f"{name}={_quoted(value)}" for name, value in told.items()]
        line = " ".join([moment, record.levelname, *said, *fields])
        return line + "".join(f"\n    {_one_line(each)}" for each in self._trace(record))

    def _trace(self, record: logging.LogRecord) -> list[str]:
        return redact(self.formatException(record.exc_info)).splitlines() if record.exc_info else []


class JsonFormatter(logging.Formatter):
    """For collectors: one object a line; each field is a member, numbers stay numbers."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(_told(record) | line)


def _told(record: logging.LogRecord) -> dict[str, Any]:
    """The event, or a library's message, with what is bound and the record's own fields."""
    message = record.getMessage()
    ours = record.name.startswith(OURS[:3]) and _EVENT.fullmatch(message)
    said = {"event" if ours else "message": redact(message)}
    context = dict(_bound.get())
    for source in _sources:
        context |= source()
    # Libraries hang private fields on records, Ray a time of its own: those are not the event's.
    own = {
        name: value
        for name, value in vars(record).items()
        if name not in _OF_RECORDS and not name.startswith("_")
    }
    return {name: _shown(value) for name, value in (context | own).items()} | said


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _quoted(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else _one_line(json.dumps(text, ensure_ascii=False))


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
