"""Distributed traces by OpenTelemetry, sent to where OTEL_EXPORTER_OTLP_ENDPOINT says.

Without that variable, or without the extra `otel`, every span is `INVALID_SPAN`, which does nothing. A span says which
route, job or phase it is about; no path, no query, no address and no error's text ever gets into one. Of what callers
bring along only `traceparent` is read (W3C Trace Context, section 3.2), because `tracestate` and `baggage` may hold
anything.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

_VARIABLE = "TRACEPARENT"
_PROPAGATOR = TraceContextTextMapPropagator()

_provider: "TracerProvider | None" = None
_tracer: Tracer | None = None


def start(process: str) -> None:
    """Begin to trace this process, if the environment asks for it. After a fork each process begins by itself."""
    global _provider, _tracer  # noqa: PLW0603  (as logging has it: there is one trace of what a process does)
    if _provider is not None or not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces take: pip install 'structguard[otel]'")
        return
    name = os.environ.get("OTEL_SERVICE_NAME", f"structguard-{process}")
    _provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_export_timeout())))
    _tracer = _provider.get_tracer("structguard")


def _export_timeout() -> float | None:
    """Seconds for one batch. By default less than OpenTelemetry's ten: a worker waits for it after each job."""
    return None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else 2.0


def stop() -> None:
    """Send what was not sent yet."""
    global _provider, _tracer  # noqa: PLW0603
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


@contextmanager
def span(
    name: str, *, parent: str | None = None, links: Sequence[str] = (), kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span]:
    """A span for as long as the block lasts, below `parent` or else the span around it.

    `parent` and `links` are `traceparent`s; one that is malformed is passed over.
    """
    if _tracer is None:  # a tracer that does nothing would hand on what the caller sent
        yield INVALID_SPAN
        return
    contexts = [get_current_span(_context(link)).get_span_context() for link in links]
    with _tracer.start_as_current_span(
        name,
        # What comes in by HTTP begins anew: asyncio may hand a connection the context of the request before.
        context=_context(parent or "") if parent or kind is SpanKind.SERVER else None,
        kind=kind,
        links=[Link(context) for context in contexts if context.is_valid],
        record_exception=False,
        set_status_on_exception=False,  # it would repeat the error's text
    ) as current:
        try:
            yield current
        except BaseException:
            current.set_status(StatusCode.ERROR)
            raise


def enabled() -> bool:
    """Is anything traced?"""
    return _tracer is not None


def environment() -> dict[str, str]:
    """What a child of this process needs, so that its spans come below the one it is started in."""
    parent = traceparent()
    return {_VARIABLE: parent} if parent else {}


def inherited_parent() -> str | None:
    """Where the process that started this one said that it belongs."""
    return os.environ.get(_VARIABLE)


def traceparent() -> str | None:
    """Where whatever this process does now belongs."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _context(parent: str) -> Context:
    return _PROPAGATOR.extract({"traceparent": parent})
