"""Counters for Prometheus: tasks, images, step caches, deliveries and HTTP requests since the process started.

Labels are models, caches, reasons and routes; never a client, a task or a prompt. Knows no HTTP.
"""

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.models.engaged import Engaged
from server.delivery.outbox import Kind
from server.jobs.job import Job, Result

NO_CACHE = "none"
NOTHING_LOADED: Mapping[str, Engaged | None] = MappingProxyType({})
_ENGAGED = ("model", "transformer", "text_encoder", "encoder_place", "tables", "attention")
_FORMATS = ("transformer_format", "text_encoder_format", "vae_format")
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_DISTANCES = (0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)


class Metrics:
    """The counters of one server. Observes its queue (`server.jobs.events.JobObserver`)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"ownware_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"ownware_{name}", text, labels, buckets=buckets, registry=self._registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"ownware_{name}", text, labels, registry=self._registry)

        self._tasks = counter("tasks", "Tasks that ended.", "model", "state")
        self._images = counter("images", "Images rendered.", "model")
        self._seconds = histogram("render_seconds", "Seconds from an image's start to its file.", _SECONDS, "model")
        self._recompiled = counter("recompiled_graphs", "Graphs that were compiled during a render.", "model")
        self._overlapped = counter(
            "overlapped_images", "Images that were decoded or written beside the steps of another.", "model"
        )
        self._batched = counter("batched_images", "Images that had steps in one pass with others.", "model")
        self._branches = counter(
            "batched_branches_images", "Images whose branches of guidance ran as one batch.", "model"
        )
        self._steps = counter("steps", "Denoising steps, computed or reused.", "model", "cache", "outcome")
        self._forwards = counter(
            "cache_forwards", "Forwards under a step cache, by what decided.", "model", "cache", "reason"
        )
        self._distances = histogram("cache_distance", "How far a cache's signal had moved.", _DISTANCES, "cache")
        self._saved = counter("cache_saved_seconds", "Seconds saved by step caches, an estimate.", "model", "cache")
        self._waiting = Gauge("ownware_queue_length", "Tasks that wait for a worker.", registry=self._registry)
        self._weights = gauge(
            "weights_gib", "Weights of the transformer, by where they are.", "device", "model", "place"
        )
        self._engaged = gauge("engaged", "What each model runs with: always 1.", "device", *_ENGAGED, *_FORMATS)
        self._compiled = gauge("compiled", "Whether the blocks of the model run compiled.", "device", "model")
        self._graphs = gauge("captured_graphs", "CUDA graphs of blocks that are replayed.", "device", "model")
        self._deliveries = counter("deliveries", "Webhooks and uploads that ended.", "kind", "outcome")
        self._requests = counter("http_requests", "HTTP requests answered.", "method", "route", "status")

    def record_image(self, job: Job, result: Result) -> None:
        """Count a finished image."""
        request, report = job.submission.request, result.cache
        self._images.labels(request.model).inc()
        self._seconds.labels(request.model).observe(result.seconds)
        self._recompiled.labels(request.model).inc(result.recompiled)
        self._overlapped.labels(request.model).inc(result.overlapped)
        self._batched.labels(request.model).inc(result.together > 1)
        self._branches.labels(request.model).inc(result.batched_branches)
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

    def record_end(self, job: Job) -> None:
        """Count a task that is done, failed or cancelled."""
        self._tasks.labels(job.submission.request.model, job.state).inc()

    def record_delivery(self, kind: Kind, *, delivered: bool) -> None:
        """Count a webhook or an upload that is delivered or given up."""
        self._deliveries.labels(kind, "delivered" if delivered else "given_up").inc()

    def record_request(self, method: str, route: str, status: int) -> None:
        """Count an HTTP request; `route` is the pattern that it matched."""
        self._requests.labels(method, route, str(status)).inc()

    def text(self, waiting: int, engaged: Mapping[str, Engaged | None] = NOTHING_LOADED) -> bytes:
        """All counters in Prometheus's text format.

        `waiting` tasks are in the queue now. `engaged` is what the model of each device runs with.
        """
        self._waiting.set(waiting)
        self._weights.clear()
        for shown in (self._engaged, self._compiled, self._graphs):
            shown.clear()
        for device, found in engaged.items():
            if found is not None:
                self._show(device, found)
        return generate_latest(self._registry)

    def _show(self, device: str, engaged: Engaged) -> None:
        places = {"card": engaged.resident_gib, "host": engaged.host_gib, "streamed": engaged.streamed_gib}
        for place, size in places.items():
            self._weights.labels(device, engaged.model, place).set(size)
        self._compiled.labels(device, engaged.model).set(engaged.compiled)
        self._graphs.labels(device, engaged.model).set(engaged.graphs or 0)
        kinds = (" ".join(sorted(layers)) for layers in (engaged.layers, engaged.encoder_layers))
        tables = str(engaged.tables).lower()
        formats = (engaged.formats.get(label.removesuffix("_format"), "") for label in _FORMATS)
        labels = (engaged.model, *kinds, engaged.encoder_place, tables, engaged.attention, *formats)
        self._engaged.labels(device, *labels).set(1)
