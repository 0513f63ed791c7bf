"""Traces into OpenTelemetry's in-memory exporter: the service's requests with their SQL, and training."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from acclimate import logs, traces
from acclimate.errors import AcclimateError
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.application import Service, application
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    traces.configure("tests", SimpleSpanProcessor(exporter))
    yield exporter
    traces.stop()


def test_a_request_is_a_span_and_its_statements_are_its_children(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    settings = ServiceSettings(home=tmp_path)
    service = Service(settings, store, ServiceKey.load_or_create(tmp_path / "key.pem"))
    with TestClient(application(service)) as client:
        spans.clear()
        assert client.get("/readyz").status_code == 200
        client.get("/api/v1/whoami", headers={"Authorization": "Bearer acl_nobodysecret123"})
    store.close()
    found = spans.get_finished_spans()
    requests = {span.name: span for span in found if span.name.startswith("GET")}
    assert set(requests) == {"GET other", "GET api"}
    ready = requests["GET other"]
    statements = [span for span in found if span.parent and span.parent.span_id == ready.context.span_id]
    assert statements, "looking whether the database answers is a statement"
    assert all("db.query.text" in span.attributes for span in statements)
    assert "nobodysecret" not in "".join(span.to_json() for span in found)


def test_lines_of_log_name_the_trace(spans: InMemorySpanExporter) -> None:
    record = logging.LogRecord("acclimate.x", logging.INFO, "", 0, "seen", (), None)
    with traces.span("outer", recipe="watch"):
        told = json.loads(logs.JsonFormatter().format(record))
    (span,) = spans.get_finished_spans()
    assert told["trace_id"] == f"{span.context.trace_id:032x}"
    assert span.attributes["recipe"] == "watch"


def test_a_function_that_fails_is_a_failed_span(spans: InMemorySpanExporter) -> None:
    @traces.traced("work")
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    (span,) = spans.get_finished_spans()
    assert (span.name, span.status.is_ok) == ("work", False)


def test_off_by_default_and_a_wrong_setting_is_named() -> None:
    traces.configure_from_environment("tests", {})
    with traces.span("nothing"):
        pass
    with pytest.raises(AcclimateError, match="'on'"):
        traces.configure_from_environment("tests", {"ACCLIMATE_TRACES": "on"})


def test_off_no_tracing_is_imported() -> None:
    code = "import sys, acclimate.rollout.application; sys.exit('opentelemetry.sdk.trace' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
