"""Templates, and what all pages have in common."""

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
    """Render a page; `now` is this machine's time unless it is given."""
    common = {
        "visitor": getattr(request.state, "visitor", None),
        "now": datetime.now(UTC),
        "here": request.url.path,
        "done": _DONE.get(request.query_params.get("done", "")),
    }
    return HTMLResponse(_environment().get_template(template).render(common | values), status, headers)


#: What a form has done, told by the page that follows it. The address holds the word only.
_DONE = {
    "cancelled": "Withdrawn. A run in progress stops at its next step.",
    "retried": "Queued again. Its deadline stays.",
    "approved": "Approved and queued.",
    "rejected": "Declined. Its images are destroyed.",
    "signed-out": "You are signed out.",
}


@cache
def _environment() -> "Environment":
    # Here, because many installations open no page, and each start would wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # of everything: names were chosen by others
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
