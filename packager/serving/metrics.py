"""What the server counts, in Prometheus' format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from packager.serving.batching import Call

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("model", "version")
        self._requests = Counter(
            "pack_requests", "Inference requests by how they ended", (*labels, "outcome"), registry=self._registry
        )
        self._duration = Histogram(
            "pack_request_seconds", "From request to answer", labels, buckets=_SECONDS, registry=self._registry
        )
        self._calls = Histogram(
            "pack_call_seconds", "One call of the model", labels, buckets=_SECONDS, registry=self._registry
        )
        self._rows = Histogram(
            "pack_call_rows", "Rows that one call of the model took", labels, buckets=_ROWS, registry=self._registry
        )
        self._loaded = Gauge(
            "pack_bundle_info", "The bundle that is served", (*labels, "digest"), registry=self._registry
        )
        self._waiting = Gauge("pack_requests_waiting", "Requests that wait for a worker", registry=self._registry)

    def request(self, model: str, version: str, outcome: str, seconds: float) -> None:
        """Count a request; `outcome` is ``ok``, ``invalid``, ``busy`` or ``failed``."""
        self._requests.labels(model, version, outcome).inc()
        self._duration.labels(model, version).observe(seconds)

    def call(self, model: str, version: str, call: Call) -> None:
        """Count a call of the model."""
        self._calls.labels(model, version).observe(call.seconds)
        self._rows.labels(model, version).observe(call.rows)

    def loaded(self, model: str, version: str, digest: str) -> None:
        """Say which bundle is served now."""
        self._loaded.clear()
        self._loaded.labels(model, version, digest).set(1)

    def expose(self, waiting: int) -> bytes:
        """All figures, as text."""
        self._waiting.set(waiting)
        return generate_latest(self._registry)
