"""The body of a request, as it was sent."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import FormData

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


async def sent_body(request: Request) -> FormData | bytes:
    """What the framework has read already, and keeps with the request.

    Raises:
        RequestValidationError: a form has parts that the route does not know; what is JSON may not have such fields.
    """
    if not request.headers.get("content-type", "").lower().startswith(_FORMS):
        return await request.body()
    form = await request.form()
    route: APIRoute = request.scope["route"]
    if strangers := sorted(form.keys() - set(_parts(route.dependant))):
        extra = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
        raise RequestValidationError([{**extra, "loc": ("body", name)} for name in strangers])
    return form


def _parts(dependant: Dependant) -> Iterator[str]:
    yield from (part.alias for part in dependant.body_params)
    for further in dependant.dependencies:
        yield from _parts(further)
