"""Traces are there when they are asked for, and otherwise cost nothing and harm nobody."""

import logging
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from service.registry.telemetry import traces
from tests.operations.otlp_receiver import Receiver, receiving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Traces are on, and this gets them."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        traces.start("test")
        yield receiver
        traces.stop()


def use_everything() -> None:
    with traces.span("outer", parent=PARENT, links=[OTHER], kind=SpanKind.SERVER) as outer:
        outer.update_name("renamed")
        outer.set_attribute("http.route", "/x")
        with traces.span("inner") as inner:
            inner.set_status(StatusCode.ERROR)


def test_without_an_endpoint_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    traces.start("test")
    use_everything()
    assert (traces.enabled(), traces.traceparent(), traces.environment()) == (False, None, {})
    traces.stop()


def test_without_the_extra_nothing_is_traced_and_somebody_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with caplog.at_level(logging.WARNING):
        traces.start("test")
    use_everything()
    assert not traces.enabled()
    assert "pip install 'structguard[otel]'" in caplog.text


def test_a_span_stands_below_its_parent_and_is_linked_to_others(receiver: Receiver) -> None:
    use_everything()
    traces.stop()
    trace = PARENT.split("-")[1]
    spans = receiver.of(trace)
    outer, inner = spans["renamed"], spans["inner"]
    assert (outer.parent, outer.links) == (PARENT.split("-")[2], (OTHER.split("-")[1],))
    assert outer.attributes == {"http.route": "/x"}
    assert (inner.parent, outer.is_error, inner.is_error) == (outer.span, False, True)
    assert {outer.service, inner.service} == {"structguard-test"}


def test_an_error_is_marked_and_not_repeated(receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="jane-doe"), traces.span("fails"):
        raise ValueError("jane-doe")
    traces.stop()
    (span,) = receiver.spans
    assert (span.is_error, span.events) == (True, 0)
    assert b"jane-doe" not in b"".join(receiver.raw)


@pytest.mark.parametrize("malformed", ["", "jane-doe", PARENT[:-1], PARENT.replace("af", "zz"), "00-" + "0" * 32])
def test_a_malformed_parent_begins_a_trace_of_its_own(receiver: Receiver, malformed: str) -> None:
    with traces.span("server", parent=malformed, links=[malformed], kind=SpanKind.SERVER):
        here = traces.traceparent()
    traces.stop()
    (span,) = receiver.spans
    assert here is not None
    assert (span.parent, span.links, span.trace) == ("", (), here.split("-")[1])


def test_a_server_span_is_nobodys_child_by_accident(receiver: Receiver) -> None:
    """asyncio may run a request in the context of the one before on the same connection."""
    with traces.span("before", kind=SpanKind.SERVER), traces.span("after", kind=SpanKind.SERVER):
        pass
    traces.stop()
    assert len({span.trace for span in receiver.spans}) == 2
