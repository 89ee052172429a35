"""What the server tells of its work to a tracing system: spans, which form traces.

A trace parent is the text of the W3C Trace Context's header `traceparent`. It names a span across processes, and is
stored with a job. Knows no OpenTelemetry: `otel_tracer` does, which needs an extra.
"""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

Attributes = Mapping[str, str | int | float | bool]


class Tracer(Protocol):
    """Begins and records spans."""

    def span(self, name: str, attributes: Attributes, parent: str | None = None) -> AbstractContextManager[str | None]:
        """A span of what is done within a block, whose value is its trace parent. An exception makes it failed.

        Without a `parent` it belongs to the span around it, such as that of a request.
        """
        ...

    def record(
        self, name: str, parent: str, begun: float, ended: float, attributes: Attributes, error: str | None = None
    ) -> str | None:
        """A span of what is over. Times are in seconds since the epoch. Returns its trace parent."""
        ...


class NoTracer:
    """The tracer of a server that does not trace."""

    def span(self, name: str, attributes: Attributes, parent: str | None = None) -> AbstractContextManager[str | None]:
        """Nothing, so the block has no trace parent."""
        return contextlib.nullcontext()

    def record(
        self, name: str, parent: str, begun: float, ended: float, attributes: Attributes, error: str | None = None
    ) -> str | None:
        """Nothing."""
        return None


NO_TRACER = NoTracer()
