"""Pages that the `type` URIs of problems (RFC 9457) lead to, one for each type."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from service.registry.errors import NotFound
from service.web.problem_types import TABLE
from service.web.problems import documented

router = APIRouter(prefix="/problems", tags=["Problems"])

Slug = Annotated[
    str,
    Path(
        description="The last part of the problem's `type`.",
        json_schema_extra={"enum": sorted({kind.slug for kind in TABLE.values()})},
    ),
]

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{kind.title}</title>
<h1>{kind.title}</h1><p>Problem type <code>/problems/{kind.slug}</code>, HTTP status {kind.status}.</p>
<p>{kind.advice}</p></html>
"""


@router.get("/{slug}", summary="Explain a type of problem", response_class=HTMLResponse, responses=documented(404))
def explain_problem(slug: Slug) -> str:
    """What a problem type means, and what to do about it."""
    for kind in TABLE.values():
        if kind.slug == slug:
            return _PAGE.format(kind=kind)
    raise NotFound
