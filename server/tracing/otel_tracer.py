"""Spans in OpenTelemetry's SDK, sent by OTLP over HTTP. The standard variables OTEL_* configure both.

Needs the extra `otel`. A collector that is slow or down costs spans, and holds up nothing. Knows no tasks.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.tracing.tracer import Attributes

# The last spans get this long at the end of the process.
FLUSH_SECONDS = 3.0
_PARENT = "traceparent"
_W3C = TraceContextTextMapPropagator()


def make_exporter() -> SpanExporter:
    """What sends the spans."""
    return OTLPSpanExporter()


class OtelTracer:
    """Implements `Tracer`, and makes the spans of requests."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(make_exporter()))
        self._tracer = self._provider.get_tracer("ownware", version("ownware"))

    @contextlib.contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of an HTTP request within a block. Its parent is the client's, as its headers name it."""
        with self._tracer.start_as_current_span("request", propagate.extract(headers), SpanKind.SERVER) as span:
            yield span

    @contextlib.contextmanager
    def connection(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Make what is begun within a block belong to the client's span. A connection of hours is no span itself."""
        with trace.use_span(trace.get_current_span(propagate.extract(headers))):
            yield

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, parent: str | None = None) -> Iterator[str | None]:
        """See `Tracer`."""
        context = None if parent is None else _context(parent)
        with self._tracer.start_as_current_span(name, context, attributes=attributes) as span:
            yield _parent_of(span)

    def record(
        self, name: str, parent: str, begun: float, ended: float, attributes: Attributes, error: str | None = None
    ) -> str | None:
        """See `Tracer`."""
        begin, end = _nanoseconds(begun), _nanoseconds(max(begun, ended))
        span = self._tracer.start_span(name, _context(parent), attributes=attributes, start_time=begin)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(end)
        return _parent_of(span)

    def close(self) -> None:
        """Send the last spans, if that takes no longer than `FLUSH_SECONDS`."""
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)


def _resource() -> Resource:
    """What the spans come from. The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    found = Resource.create()
    named = {key for key, value in found.attributes.items() if not str(value).startswith("unknown_service")}
    own = {SERVICE_NAME: "ownware", SERVICE_VERSION: version("ownware")}
    return found.merge(Resource({key: value for key, value in own.items() if key not in named}))


def _context(parent: str) -> Context:
    return _W3C.extract({_PARENT: parent}, Context())


def _parent_of(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(_PARENT)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
