"""Spans as a collector gets them, in memory."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from server.tracing import otel_tracer
from server.tracing.otel_tracer import OtelTracer

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = f"{CLIENT[:-2]}00"
TRACE = int(CLIENT.split("-")[1], 16)


def spans(sent: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in sent.get_finished_spans()}


def test_spans_of_several_processes_are_one_trace(tracer: OtelTracer, sent: InMemorySpanExporter) -> None:
    with tracer.request({"traceparent": CLIENT}), tracer.span("accept", {"ownware.task_uuid": "a"}) as accepted:
        pass
    assert accepted is not None
    image = tracer.record("image", accepted, 10.0, 12.5, {"ownware.image": 0})
    assert image is not None
    tracer.record("steps", image, 11.0, 10.0, {}, "out of memory")
    tracer.close()
    found = spans(sent)
    assert found.keys() == {"request", "accept", "image", "steps"}
    assert {span.context.trace_id for span in found.values() if span.context} == {TRACE}
    parents = {name: span.parent.span_id for name, span in found.items() if span.parent}
    ids = {name: span.context.span_id for name, span in found.items() if span.context}
    assert parents["request"] == int(CLIENT.split("-")[2], 16)
    assert [parents[name] for name in ("accept", "image", "steps")] == [ids["request"], ids["accept"], ids["image"]]
    assert (found["image"].start_time, found["image"].end_time) == (10 * 10**9, 12_500_000_000)
    assert found["steps"].end_time == found["steps"].start_time  # a clock that was set back
    assert (found["steps"].status.status_code, found["steps"].status.description) == (StatusCode.ERROR, "out of memory")
    assert dict(found["accept"].attributes or {}) == {"ownware.task_uuid": "a"}


def test_what_fails_within_a_span_is_its_error(tracer: OtelTracer, sent: InMemorySpanExporter) -> None:
    with pytest.raises(LookupError), tracer.span("webhook", {}, CLIENT):
        raise LookupError("no receiver")
    tracer.close()
    status = spans(sent)["webhook"].status
    assert status.status_code == StatusCode.ERROR
    assert "no receiver" in (status.description or "")


def test_a_client_that_does_not_sample_gets_no_spans(tracer: OtelTracer, sent: InMemorySpanExporter) -> None:
    with tracer.connection({"traceparent": UNSAMPLED}), tracer.span("accept", {}) as accepted:
        assert accepted is not None
    tracer.record("queue", accepted, 1.0, 2.0, {})
    tracer.close()
    assert spans(sent) == {}


def test_a_connection_without_a_trace_begins_one_for_each_task(tracer: OtelTracer, sent: InMemorySpanExporter) -> None:
    for header in ({}, {"traceparent": "nonsense"}):
        with tracer.connection(header), tracer.span("accept", {}):
            pass
    tracer.close()
    found = sent.get_finished_spans()
    assert [span.parent for span in found] == [None, None]
    assert len({span.context.trace_id for span in found if span.context}) == 2


@pytest.mark.parametrize(
    ("variables", "name", "version"),
    [
        ({}, "ownware", None),
        ({"OTEL_SERVICE_NAME": "box"}, "box", None),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=b,service.version=9"}, "b", "9"),
    ],
)
def test_the_standard_variables_name_the_server(
    sent: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    name: str,
    version: str | None,
) -> None:
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    tracer = OtelTracer()
    with tracer.span("accept", {}):
        pass
    tracer.close()
    attributes = spans(sent)["accept"].resource.attributes
    assert attributes["service.name"] == name
    assert attributes["service.version"] == (version or otel_tracer.version("ownware"))


def test_a_collector_that_hangs_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            released.wait(60)
            return SpanExportResult.SUCCESS

    monkeypatch.setattr(otel_tracer, "make_exporter", Hanging)
    monkeypatch.setattr(otel_tracer, "FLUSH_SECONDS", 0.01)
    tracer = OtelTracer()
    with tracer.span("accept", {}):
        pass
    tracer.close()
    assert not released.is_set()
    released.set()


def test_the_exporter_reads_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318")
    exporter = otel_tracer.make_exporter()
    assert exporter._endpoint == "http://collector.example:4318/v1/traces"  # pyright: ignore[reportAttributeAccessIssue]
    exporter.shutdown()
