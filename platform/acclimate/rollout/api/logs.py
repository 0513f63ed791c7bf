"""What the process writes to standard error: one line an event, as `key=value` text or as JSON.

Every line of a request carries its id, which clients may choose (`X-Request-Id`) and always get back. Tokens
never appear: whatever looks like one is hidden on the way out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from acclimate.rollout.api.tokens import redact

request_id: ContextVar[str] = ContextVar("request_id", default="")
_FIELD = re.compile(r"(\w+)=(?:'((?:[^'\\]|\\.)*)'|(\S*))")


def configure(log_format: str, level: str) -> None:
    """Send this process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """For people: time, level, event."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        identity = request_id.get()
        return redact(super().format(record)) + (f" request={identity}" if identity else "")


class JsonFormatter(logging.Formatter):
    """For collectors: one object a line; the `key=value` pairs of the message become members."""

    def format(self, record: logging.LogRecord) -> str:
        message = redact(record.getMessage())
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        line |= {match[1]: match[2] or match[3] for match in _FIELD.finditer(message)}
        if request_id.get():
            line["request"] = request_id.get()
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line)
