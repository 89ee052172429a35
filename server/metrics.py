"""`GET /metrics`: counters for Prometheus, fed from what the workers tell the queue anyway. No key, as for /healthz.

Counted since the process started. Labels are models, caches, reasons and routes: no caller, no task, no prompt.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.jobs.job import Job, Result

NO_CACHE = "none"
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_DISTANCES = (0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"ownware_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"ownware_{name}", text, labels, buckets=buckets, registry=self._registry)

        self._tasks = counter("tasks", "Tasks that ended.", "model", "state")
        self._images = counter("images", "Images drawn.", "model")
        self._seconds = histogram("render_seconds", "Seconds from an image's start to its file.", _SECONDS, "model")
        self._steps = counter("steps", "Denoising steps, computed or reused.", "model", "cache", "outcome")
        self._forwards = counter(
            "cache_forwards", "Forwards under a step cache, by what decided.", "model", "cache", "reason"
        )
        self._distances = histogram("cache_distance", "How far a cache's signal had moved.", _DISTANCES, "cache")
        self._saved = counter("cache_saved_seconds", "Seconds saved by step caches, an estimate.", "model", "cache")
        self._waiting = Gauge("ownware_queue_length", "Tasks that wait for a worker.", registry=self._registry)
        self._requests = counter("http_requests", "HTTP requests answered.", "method", "route", "status")

    def image(self, job: Job, result: Result) -> None:
        """Count a finished image."""
        request, report = job.submission.request, result.cache
        self._images.labels(request.model).inc()
        self._seconds.labels(request.model).observe(result.seconds)
        if report is None:
            self._steps.labels(request.model, NO_CACHE, "computed").inc(request.executed_steps)
            return
        of = request.model, report.strategy
        self._steps.labels(*of, "computed").inc(report.steps - report.reused_steps)
        self._steps.labels(*of, "reused").inc(report.reused_steps)
        self._saved.labels(*of).inc(report.seconds_saved)
        for decision in report.decisions:
            self._forwards.labels(*of, decision.reason).inc()
            if decision.distance is not None:
                self._distances.labels(report.strategy).observe(decision.distance)

    def ended(self, job: Job) -> None:
        """Count a task that is done, failed or cancelled."""
        self._tasks.labels(job.submission.request.model, job.state).inc()

    def request(self, method: str, route: str, status: int) -> None:
        """Count an HTTP request; `route` is the pattern that it matched."""
        self._requests.labels(method, route, str(status)).inc()

    def text(self, waiting: int) -> bytes:
        """Everything, as Prometheus reads it; `waiting` tasks are in the queue now."""
        self._waiting.set(waiting)
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware that counts what is answered."""

    # Anyone can send any method; a label for each would grow without end.
    _METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and look at the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in self._METHODS else "other"
                self._metrics.request(method, _pattern(scope.get("route")), message["status"])
            await send(message)

        await self._app(scope, receive, counted)


def router(metrics: Metrics, waiting: Callable[[], Awaitable[int]]) -> APIRouter:
    """The route over these counters; `waiting` says how many tasks wait."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show() -> Response:
        return Response(metrics.text(await waiting()), media_type=CONTENT_TYPE_LATEST)

    return routes


def _pattern(route: Any) -> str:
    return getattr(route, "path", "unmatched")
