"""A receiver of OTLP over HTTP, as a tracing backend has it: it decodes what is posted and keeps it."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Received:
    """One span, in plain types."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]  # traces
    attributes: dict[str, str | int]
    events: int
    state: str
    is_error: bool


@dataclass
class Receiver:
    url: str
    spans: list[Received] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, Received]:
        """The spans of a trace by their names."""
        return {span.name: span for span in list(self.spans) if span.trace == trace}


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path != "/v1/traces":
                self.send_error(404)
                return
            receiver.raw.append(body)
            receiver.spans.extend(decoded(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def decoded(body: bytes) -> Iterator[Received]:
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        process = {pair.key: pair.value.string_value for pair in of_process.resource.attributes}
        for scope in of_process.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=process["service.name"],
                    name=span.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=tuple(link.trace_id.hex() for link in span.links),
                    attributes={pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes},
                    events=len(span.events),
                    state=span.trace_state,
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                )
