"""OpenTelemetry traces of the service and of training: off unless ACCLIMATE_TRACES is `otlp`.

Where they go is said by OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT first. Values of SQL
parameters and request bodies never enter a span. Off, nothing of OpenTelemetry is imported here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from acclimate import logs
from acclimate.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from sqlalchemy import Engine

VARIABLE = "ACCLIMATE_TRACES"
P = ParamSpec("P")
R = TypeVar("R")
_provider: TracerProvider | None = None


def configure_from_environment(service: str, environ: Mapping[str, str] = os.environ) -> None:
    """Begin to trace this process as `service`, if the environment asks for it.

    Raises:
        SettingsError: ACCLIMATE_TRACES is neither `off` nor `otlp`.
        MissingExtraError: OpenTelemetry is not installed.
    """
    chosen = environ.get(VARIABLE) or "off"
    if chosen == "off" or _provider is not None:
        return
    if chosen != "otlp":
        raise SettingsError(f"{VARIABLE} is {chosen!r}: use 'off' or 'otlp'")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise MissingExtraError("traces", error.name or "opentelemetry") from error
    configure(service, BatchSpanProcessor(OTLPSpanExporter()))


def configure(service: str, processor: SpanProcessor) -> None:
    """Begin to trace this process; spans go to `processor`, and their ids onto every line of the log."""
    global _provider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    _provider = TracerProvider(resource=Resource.create({"service.name": service}))
    _provider.add_span_processor(processor)
    logs.bind_from(_ids)


def stop() -> None:
    """Send what is left and trace no more."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
    _provider = None


def tracing() -> bool:
    """Whether this process is traced."""
    return _provider is not None


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[None]:
    """What happens inside is one span; an exception marks it failed."""
    if _provider is None:
        yield
        return
    with _provider.get_tracer("acclimate").start_as_current_span(name, attributes=attributes):
        yield


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Each call of the function is one span."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with span(name):
                return function(*args, **kwargs)

        return run

    return decorate


def trace_requests(app: Any, name_of: Callable[[str, str], str]) -> Any:
    """The ASGI application with a span for each request; the same application while tracing is off.

    Args:
        name_of: (method, path) to a span's name, few of them.
    """
    if _provider is None:
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    def details(scope: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return name_of(scope.get("method", ""), scope.get("path", "")), {}

    return OpenTelemetryMiddleware(
        app,
        default_span_details=details,
        tracer_provider=_provider,
        exclude_spans=["receive", "send"],
    )


def trace_statements(engine: Engine) -> None:
    """A span for each SQL statement: its text, without values.

    OpenTelemetry's own package for SQLAlchemy does not take SQLAlchemy 2.1 yet.
    """
    if _provider is None:
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from sqlalchemy import event

    tracer = _provider.get_tracer("acclimate")

    def begin(
        _connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        verb = statement.split(maxsplit=1)[0].upper() if statement.strip() else "SQL"
        attributes = {"db.system.name": engine.dialect.name, "db.query.text": statement}
        opened = tracer.start_span(verb, kind=SpanKind.CLIENT, attributes=attributes)
        if context is not None:
            context.acclimate_span = opened

    def end(_: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
        opened = getattr(context, "acclimate_span", None)
        if opened is not None:
            opened.end()

    def fail(failure: Any) -> None:
        opened = getattr(failure.execution_context, "acclimate_span", None)
        if opened is not None:
            opened.set_status(Status(StatusCode.ERROR, type(failure.original_exception).__name__))
            opened.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def _ids() -> dict[str, str]:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
