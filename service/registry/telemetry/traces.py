"""Distributed traces by OpenTelemetry, sent to where OTEL_EXPORTER_OTLP_ENDPOINT says.

Without that variable, or without the extra `otel`, every span is `INVALID_SPAN`, which does nothing. A span says which
route, job or phase it is about; no path, no query, no address and no text of an error gets into one. Of the headers
that callers send only `traceparent` is read (W3C Trace Context, section 3.2), because `tracestate` and `baggage` may
hold anything.
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
    """Start tracing this process, if the environment configures it. After a fork each process must call it."""
    global _provider, _tracer  # noqa: PLW0603  (one tracer per process, as with logging)
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
    """Timeout of one batch in seconds; below OpenTelemetry's ten, because a worker waits for it after each job."""
    return None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else 2.0


def stop() -> None:
    """Send the remaining spans, and stop tracing."""
    global _provider, _tracer  # noqa: PLW0603
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


@contextmanager
def span(
    name: str, *, parent: str | None = None, links: Sequence[str] = (), kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span]:
    """A span of the block, a child of `parent` or else of the current span.

    `parent` and `links` are `traceparent`s; a malformed one is ignored.
    """
    if _tracer is None:  # the no-op tracer would pass on the caller's `tracestate`
        yield INVALID_SPAN
        return
    contexts = [get_current_span(_context(link)).get_span_context() for link in links]
    with _tracer.start_as_current_span(
        name,
        # HTTP requests begin with an empty context: asyncio may hand a connection the context of the request before.
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
    """Whether this process is traced."""
    return _tracer is not None


def environment() -> dict[str, str]:
    """Environment variables for a child process, so that its spans become children of the current one."""
    parent = traceparent()
    return {_VARIABLE: parent} if parent else {}


def inherited_parent() -> str | None:
    """The `traceparent` that the parent process passed in the environment; None if there is none."""
    return os.environ.get(_VARIABLE)


def traceparent() -> str | None:
    """The `traceparent` of the current span; None outside of one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _context(parent: str) -> Context:
    return _PROPAGATOR.extract({"traceparent": parent})
