"""Metrics of one process of the service: response times and uploads in progress."""

from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

#: Upper bounds in seconds: most answers take milliseconds, an upload or a stream of events minutes.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class ProcessMetrics:
    """Metrics of this process, in a registry of their own: a test may have several applications in one process."""

    def __init__(self, upload_slots: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series, and nobody looks at them
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.answered = Histogram(
            "structguard_http_request_duration_seconds",
            "How long requests took, by the route's template. Streams of events last as long as somebody listens.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.uploads = Gauge(
            "structguard_uploads_in_progress", "Uploads that are received or worked on.", registry=self.registry
        )
        self.last_success = Gauge(
            "structguard_background_last_success_timestamp_seconds",
            "When a background thread last finished a regular turn; 0 before its first.",
            ("thread",),
            registry=self.registry,
        )
        slots = Gauge("structguard_upload_slots", "Uploads that may be in progress at once.", registry=self.registry)
        slots.set(upload_slots)
        build = Gauge("structguard_build_info", "Always 1.", ("version",), registry=self.registry)
        build.labels(version("structguard")).set(1)
