"""Rendering of templates, with the variables and filters that all pages share."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from service.dashboard import wording
from service.registry.measurements.schemas import of_request
from service.registry.states import State

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
STATIC = _HERE / "static"


def page(
    request: Request, template: str, /, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """Render a template as a response; `now` is this machine's time unless `values` has it."""
    common = {
        "visitor": getattr(request.state, "visitor", None),
        "now": datetime.now(UTC),
        "current_path": request.url.path,
        "notice": _NOTICES.get(request.query_params.get("done", "")),
    }
    return HTMLResponse(_environment().get_template(template).render(common | values), status, headers)


#: Shown by the page that follows a form, by the word in the query parameter `done`.
_NOTICES = {
    "cancelled": "Withdrawn. A run in progress stops at its next step.",
    "retried": "Queued again. Its deadline stays.",
    "approved": "Approved and queued.",
    "rejected": "Declined. Its images are destroyed.",
    "signed-out": "You are signed out.",
}


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # everywhere: names are the callers' texts
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "since": wording.since,
        "until": wording.until,
        "span": wording.span,
        "exact": wording.exact,
        "number": wording.number,
        "signed": wording.signed,
        "capped": wording.capped,
        "measured": lambda request: of_request(request.metrics, request.job.metrics),
        "state": lambda state: wording.STATES[State(state)],
        "tone": lambda state: wording.TONES.get(State(state), "quiet"),
    }
    return environment
