from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from server.tracing import otel_tracer
from server.tracing.otel_tracer import OtelTracer


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a collector gets."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(otel_tracer, "make_exporter", lambda: memory)
    return memory


@pytest.fixture
def tracer(sent: InMemorySpanExporter) -> Iterator[OtelTracer]:
    tracer = OtelTracer()
    yield tracer
    tracer.close()
