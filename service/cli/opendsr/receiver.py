"""A small server that status callbacks are sent to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_MOST = 1 << 20  # bytes of one callback


@dataclass(frozen=True)
class Received:
    """One callback, as it came."""

    path: str
    headers: httpx.Headers
    body: bytes


@dataclass
class Receiver:
    """Where callbacks arrive; `url` is how the processor reaches it."""

    url: str
    patience: float  # seconds to wait for a callback
    _received: list[Received] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def note(self, received: Received) -> None:
        """A callback has come."""
        with self._arrived:
            self._received.append(received)
            self._arrived.notify_all()

    def first(self, path: str) -> Received | None:
        """The first callback to this path; nothing if none comes in time."""
        deadline = time.monotonic() + self.patience
        with self._arrived:
            while True:
                for received in self._received:
                    if received.path == path:
                        return received
                if not self._arrived.wait(deadline - time.monotonic()):
                    return None


@contextmanager
def receiving(host: str, port: int, url: str | None, patience: float) -> Iterator[Receiver]:
    """Listen there until the block ends; port 0 takes a free one.

    Raises:
        OSError: somebody else does.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            body = self.rfile.read(min(int(length), _MOST) if length.isdecimal() else 0)
            receiver.note(Received(self.path, httpx.Headers(self.headers.items()), body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The table says it all."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    here = f"[{host}]" if ":" in host else host
    receiver = Receiver((url or f"http://{here}:{server.server_port}").rstrip("/"), patience)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
