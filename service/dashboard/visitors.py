"""Dependencies of the dashboard's routes: the signed-in user, their scopes, and the CSRF check."""

import hmac
from typing import Annotated, Any

from fastapi import Depends, Form, Request
from starlette.exceptions import HTTPException

from service.dashboard.sessions import Visitor, visitor_of
from service.registry.access.scopes import Scope
from service.registry.errors import ScopeMissing
from service.web.dependencies import ResourcesDep

COOKIE = "structguard"
_SECURE_COOKIE = "__Host-structguard"  # by its prefix browsers accept it over TLS only, and from this host only


class SignedOut(Exception):
    """There is no session, or it has ended."""


def cookie_name(request: Request) -> str:
    """Name of the session's cookie; over TLS with the prefix `__Host-`."""
    return _SECURE_COOKIE if request.url.scheme == "https" else COOKIE


def _visitor(request: Request, resources: ResourcesDep) -> Visitor:
    token = request.cookies.get(cookie_name(request))
    if token:
        with resources.database.read() as session:
            visitor = visitor_of(session, token)
        if visitor is not None:
            request.state.visitor = visitor
            request.state.caller = visitor.caller  # the audit log names it
            return visitor
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


def check_origin(request: Request, expected: str, token: str) -> None:
    """Raise 403 unless the form's CSRF token is the expected one, and `Sec-Fetch-Site`, if sent, is `same-origin`."""
    is_same_origin = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    if not is_same_origin or not hmac.compare_digest(expected.encode(), token.encode()):
        raise HTTPException(403, "The form was not sent from this page, or the page is from another session.")


def _check_csrf(request: Request, visitor: VisitorDep, csrf: Annotated[str, Form()] = "") -> None:
    check_origin(request, visitor.csrf, csrf)


CSRF_CHECKED: Any = Depends(_check_csrf)
"""Dependency of every POST of a signed-in user."""
