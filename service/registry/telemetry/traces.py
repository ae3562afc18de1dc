"""Distributed traces by OpenTelemetry, sent to where OTEL_EXPORTER_OTLP_ENDPOINT says.

Without that variable, or without the extra `otel`, nothing is loaded and every span is none. A span says which route,
job or phase it is about; no path, no query, no address and no error's text ever gets into one. Of what callers bring
along only `traceparent` is read (W3C Trace Context, section 3.2), because `tracestate` and `baggage` may hold anything.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

_VARIABLE = "TRACEPARENT"

Kind = Literal["internal", "server", "consumer"]

_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None


class Span:
    """A piece of a trace, or nothing."""

    def __init__(self, span: "OtelSpan | None") -> None:
        self._span = span

    def describe(self, name: str | None = None, **attributes: str | int) -> None:
        """Name it anew, or say more about it; two underscores stand for a dot."""
        if self._span is None:
            return
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes({key.replace("__", "."): value for key, value in attributes.items()})

    def failed(self) -> None:
        """What it stands for did not succeed."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415

            self._span.set_status(StatusCode.ERROR)


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
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_patience())))
    _tracer = _provider.get_tracer("structguard")


def _patience() -> float | None:
    """Seconds for one batch. By default less than OpenTelemetry's ten: a worker waits for it after each job."""
    return None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else 2.0


def stop() -> None:
    """Send what was not sent yet."""
    global _provider, _tracer  # noqa: PLW0603
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


@contextmanager
def span(name: str, *, parent: str | None = None, links: Sequence[str] = (), kind: Kind = "internal") -> Iterator[Span]:
    """A span for as long as the block lasts, below `parent` or else the span around it.

    `parent` and `links` are `traceparent`s; one that is malformed is passed over.
    """
    if _tracer is None:
        yield Span(None)
        return
    from opentelemetry.trace import Link, SpanKind, get_current_span  # noqa: PLC0415

    contexts = [get_current_span(_context(link)).get_span_context() for link in links]
    with _tracer.start_as_current_span(
        name,
        # What comes in by HTTP begins anew: asyncio may hand a connection the context of the request before.
        context=_context(parent or "") if parent or kind == "server" else None,
        kind=SpanKind[kind.upper()],
        links=[Link(context) for context in contexts if context.is_valid],
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield Span(started)
        except BaseException:
            Span(started).failed()
            raise


def are_on() -> bool:
    """Is anything traced?"""
    return _tracer is not None


def environment() -> dict[str, str]:
    """What a child of this process needs, so that its spans come below the one it is started in."""
    here = traceparent()
    return {_VARIABLE: here} if here else {}


def inherited() -> str | None:
    """Where the process that started this one said that it belongs."""
    return os.environ.get(_VARIABLE)


def traceparent() -> str | None:
    """Where whatever this process does now belongs."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    context = get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else None


def _context(parent: str) -> "Context":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({"traceparent": parent})
