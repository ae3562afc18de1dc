"""What the pages ask for, by name: who is there, what they may do, and that a form is one of ours."""

import hmac
from typing import Annotated, Any

from fastapi import Depends, Form, Request
from starlette.exceptions import HTTPException

from service.dashboard.sessions import Visitor, visitor_of
from service.registry.access.scopes import Scope
from service.registry.errors import ScopeMissing
from service.web.dependencies import ResourcesDep

COOKIE = "structguard"
_SECURE_COOKIE = "__Host-structguard"  # browsers take it over TLS only, and from no other host


class SignedOut(Exception):
    """Nobody is signed in, or no longer."""


def cookie_name(request: Request) -> str:
    """How the cookie is called here."""
    return _SECURE_COOKIE if request.url.scheme == "https" else COOKIE


def _visitor(request: Request, resources: ResourcesDep) -> Visitor:
    token = request.cookies.get(cookie_name(request))
    if token:
        with resources.database.read() as session:
            found = visitor_of(session, token)
        if found is not None:
            request.state.visitor = found
            request.state.caller = found.caller  # as whom the audit log knows them
            return found
    raise SignedOut


VisitorDep = Annotated[Visitor, Depends(_visitor)]


def _needs(scope: Scope) -> Any:
    def check(visitor: VisitorDep) -> Visitor:
        if not visitor.may(scope):
            raise ScopeMissing([scope])
        return visitor

    return Depends(check)


RequestReader = Annotated[Visitor, _needs(Scope.REQUESTS_READ)]
ImageViewer = Annotated[Visitor, _needs(Scope.REQUESTS_IMAGES)]
Creator = Annotated[Visitor, _needs(Scope.REQUESTS_CREATE)]
Canceller = Annotated[Visitor, _needs(Scope.REQUESTS_CANCEL)]
Approver = Annotated[Visitor, _needs(Scope.REQUESTS_APPROVE)]
ModelReader = Annotated[Visitor, _needs(Scope.MODELS_READ)]
Admin = Annotated[Visitor, _needs(Scope.ADMIN)]


def check_origin(request: Request, expected: str, brought: str) -> None:
    """Raise 403 unless the form came from a page of ours, as its token says, and the browser if it says anything."""
    is_ours = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    if not is_ours or not hmac.compare_digest(expected.encode(), brought.encode()):
        raise HTTPException(403, "The form was not sent from this page, or the page is from another session.")


def _from_our_page(request: Request, visitor: VisitorDep, csrf: Annotated[str, Form()] = "") -> None:
    check_origin(request, visitor.csrf, csrf)


FROM_OUR_PAGE: Any = Depends(_from_our_page)
"""Goes with every POST."""
