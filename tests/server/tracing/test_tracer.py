from server.tracing.tracer import NO_TRACER


def test_a_server_that_does_not_trace_has_no_spans() -> None:
    with NO_TRACER.span("accept", {}) as parent:
        assert parent is None
    assert NO_TRACER.record("queue", "parent", 1.0, 2.0, {}) is None
