"""What a process writes to standard error: one line an event, as `key=value` text or as JSON.

Every line carries what is bound at the time, such as the id of the request or of the training run. Tokens
never appear: whatever looks like one is hidden on the way out.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from acclimate.errors import AcclimateError

FORMAT, LEVEL = "ACCLIMATE_LOG_FORMAT", "ACCLIMATE_LOG_LEVEL"
FORMATS = ("text", "json")
OURS = ("acclimate", "acclimate_device", "acclimate_pipelines", "uvicorn")
_SECRETS = re.compile(r"\b(acl_|ace_)[A-Za-z0-9_-]{8,}|(?<=Bearer )\S+")
_FIELD = re.compile(r"(\w+)=(?:'((?:[^'\\]|\\.)*)'|(\S*))")
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


def configure_from_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Likewise, as ACCLIMATE_LOG_FORMAT (text or json) and ACCLIMATE_LOG_LEVEL say.

    Raises:
        AcclimateError: there is no such format or level.
    """
    level = environ.get(LEVEL, "info")
    if level.upper() not in logging.getLevelNamesMapping():
        raise AcclimateError(f"{LEVEL} is {level!r}: use debug, info, warning or error")
    configure(chosen_format(environ), level)


def chosen_format(environ: Mapping[str, str] = os.environ) -> str:
    """`text` or `json`.

    Raises:
        AcclimateError: ACCLIMATE_LOG_FORMAT is neither.
    """
    given = environ.get(FORMAT, "text")
    if given not in FORMATS:
        raise AcclimateError(f"{FORMAT} is {given!r}: use 'text' or 'json'")
    return given


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
    """For people: time, level, event."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        said = redact(record.getMessage())
        added = "".join(f" {key}={value}" for key, value in _context().items() if f"{key}=" not in said)
        return redact(super().format(record) + added)


class JsonFormatter(logging.Formatter):
    """For collectors: one object a line; the `key=value` pairs of the message become members."""

    def format(self, record: logging.LogRecord) -> str:
        message = redact(record.getMessage())
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **_context(),
        }
        line |= {match[1]: match[2] or match[3] for match in _FIELD.finditer(message)}
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line)


def _context() -> dict[str, str]:
    context = dict(_bound.get())
    for source in _sources:
        context |= source()
    return {name: redact(value) for name, value in context.items()}
