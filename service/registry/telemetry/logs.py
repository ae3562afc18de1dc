"""Lines of the log, as text or as JSON: one object a line, with the request, the job and the trace it is about."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from service.registry.telemetry import traces

Form = Literal["text", "json"]

_TEXT = "time=%(asctime)s level=%(levelname)s logger=%(name)s message=%(message)s"

#: The fields of a line. Others, which libraries attach, are dropped, as they may hold personal data.
_FIELDS = {
    *("time", "level", "logger", "message", "exc_info"),
    *("request", "tenant", "method", "route", "status", "milliseconds"),
    *("job", "attempt", "trace"),
}

_context: ContextVar[dict[str, str | int]] = ContextVar("about", default={})  # noqa: B039  (it is never changed)


@contextmanager
def context(**fields: str | int) -> Iterator[None]:
    """Add these fields to every line that is logged in the block, and in threads that inherit its context."""
    before = _context.set(_context.get() | fields)
    try:
        yield
    finally:
        _context.reset(before)


def configure(form: Form) -> None:
    """Log to the standard error, from INFO on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it would log at every readiness check


class _Json(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: LogData) -> LogData:
        fields: dict[str, Any] = log_data | _context.get()
        trace = traces.traceparent()
        if trace is not None:
            fields["trace"] = trace.split("-")[1]
        return {name: value for name, value in fields.items() if name in _FIELDS}
