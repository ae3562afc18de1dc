"""A small HTTP server that receives status callbacks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_MAX_BYTES = 1 << 20  # bytes of one callback


@dataclass(frozen=True)
class Callback:
    """One callback as received."""

    path: str
    headers: httpx.Headers
    body: bytes


@dataclass
class Receiver:
    """Collects the callbacks that arrive; `url` is how the processor reaches it."""

    url: str
    patience: float  # seconds to wait for a callback
    _callbacks: list[Callback] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, callback: Callback) -> None:
        """Store a callback and wake who waits for it."""
        with self._arrived:
            self._callbacks.append(callback)
            self._arrived.notify_all()

    def wait_for(self, path: str) -> Callback | None:
        """The first callback to this path; None if none arrives within `patience` seconds."""
        deadline = time.monotonic() + self.patience
        with self._arrived:
            while True:
                for callback in self._callbacks:
                    if callback.path == path:
                        return callback
                if not self._arrived.wait(deadline - time.monotonic()):
                    return None


@contextmanager
def listen_for_callbacks(host: str, port: int, url: str | None, patience: float) -> Iterator[Receiver]:
    """Listen there until the block ends; port 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            body = self.rfile.read(min(int(length), _MAX_BYTES) if length.isdecimal() else 0)
            receiver.add(Callback(self.path, httpx.Headers(self.headers.items()), body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing: the report has what matters."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    address = f"[{host}]" if ":" in host else host
    receiver = Receiver((url or f"http://{address}:{server.server_port}").rstrip("/"), patience)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
