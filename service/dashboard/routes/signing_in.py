"""Signing in with an API key, and out."""

import re
import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.status import HTTP_401_UNAUTHORIZED, HTTP_429_TOO_MANY_REQUESTS

from service.dashboard import sessions
from service.dashboard.pages import page
from service.dashboard.visitors import CSRF_CHECKED, VisitorDep, check_origin, cookie_name
from service.registry.access.api_keys import KEY_PREFIX
from service.registry.access.scopes import Scope
from service.web.dependencies import ResourcesDep

router = APIRouter()

_DASHBOARD_PATH = re.compile(r"/dashboard(/[A-Za-z0-9._~@-]+)*/?(\?[A-Za-z0-9._~=&%+-]*)?")
_INVALID_KEY = "This key is not good. It may be mistyped, expired or revoked."
_TOKEN_INSTEAD_OF_KEY = (
    "Tokens of an identity provider are for the API. Sign in with an API key; an administrator can make you one."  # noqa: S105
)
_TOO_MANY_ATTEMPTS = "Too many attempts from your address. Wait a minute."


@router.get("/sign-in")
def show_form(request: Request, next: str = "") -> Response:  # noqa: A002  (what the address calls it)
    """The form that asks for an API key."""
    return _form(request, next)


@router.post("/sign-in")
def sign_in(
    request: Request,
    resources: ResourcesDep,
    key: Annotated[str, Form(max_length=5000)] = "",
    next: Annotated[str, Form(max_length=1000)] = "",  # noqa: A002
    csrf: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Begin a session with an API key, and go on to `next`."""
    form_secret = request.cookies.get(_form_cookie_name(request))
    check_origin(request, sessions.csrf_of(form_secret) if form_secret else secrets.token_hex(), csrf)
    attempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    if not attempts.is_allowed(address):
        return _form(request, next, _TOO_MANY_ATTEMPTS, HTTP_429_TOO_MANY_REQUESTS)
    key = key.strip()
    lifetime = resources.settings.dashboard_session
    with resources.database.write() as session:
        token = sessions.sign_in(session, key, lifetime)
        visitor = sessions.visitor_of(session, token) if token else None
    if token is None or visitor is None:
        attempts.record_failure(address)
        is_token = key.count(".") == 2 and not key.startswith(KEY_PREFIX)
        return _form(request, next, _TOKEN_INSTEAD_OF_KEY if is_token else _INVALID_KEY, HTTP_401_UNAUTHORIZED)
    first = "/dashboard/" if visitor.may(Scope.REQUESTS_READ) else "/dashboard/models"
    answer = RedirectResponse(next if _DASHBOARD_PATH.fullmatch(next) else first, 303)
    _set_cookie(answer, request, cookie_name(request), token, int(lifetime.total_seconds()))
    answer.delete_cookie(
        _form_cookie_name(request), path="/", secure=_is_secure(request), httponly=True, samesite="strict"
    )
    return answer


@router.post("/sign-out", dependencies=[CSRF_CHECKED])
def sign_out(request: Request, resources: ResourcesDep, _: VisitorDep) -> Response:
    """End the session."""
    with resources.database.write() as session:
        sessions.sign_out(session, request.cookies[cookie_name(request)])
    answer = RedirectResponse("/dashboard/sign-in?done=signed-out", 303)
    answer.delete_cookie(cookie_name(request), path="/", secure=_is_secure(request), httponly=True, samesite="strict")
    return answer


def _form(request: Request, next_path: str, error: str = "", status: int = 200) -> Response:
    """The form, with a CSRF secret in a cookie of its own: no other site can sign a browser in under its own key."""
    form_secret = request.cookies.get(_form_cookie_name(request)) or secrets.token_urlsafe(32)
    answer = page(
        request,
        "sign_in.html",
        status=status,
        token=sessions.csrf_of(form_secret),
        next_path=next_path if _DASHBOARD_PATH.fullmatch(next_path) else "",
        error=error,
        takes_tokens=request.app.state.takes_tokens,
    )
    _set_cookie(answer, request, _form_cookie_name(request), form_secret, 3600)
    return answer


def _form_cookie_name(request: Request) -> str:
    return f"{cookie_name(request)}-sign-in"


def _set_cookie(answer: Response, request: Request, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(
        name, value, max_age=seconds, path="/", secure=_is_secure(request), httponly=True, samesite="strict"
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
