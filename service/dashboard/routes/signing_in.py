"""Signing in with an API key, and out."""

import re
import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.status import HTTP_401_UNAUTHORIZED, HTTP_429_TOO_MANY_REQUESTS

from service.dashboard import sessions
from service.dashboard.pages import page
from service.dashboard.visitors import FROM_OUR_PAGE, VisitorDep, check_origin, cookie_name
from service.registry.access.api_keys import KEY_PREFIX
from service.registry.access.scopes import Scope
from service.web.dependencies import ResourcesDep

router = APIRouter()

_OURS = re.compile(r"/dashboard(/[A-Za-z0-9._~@-]+)*/?(\?[A-Za-z0-9._~=&%+-]*)?")
_NOT_GOOD = "This key is not good. It may be mistyped, expired or revoked."
_A_TOKEN = "Tokens of an identity provider are for the API. Sign in with an API key; an administrator can make you one."  # noqa: S105
_TOO_OFTEN = "Too many attempts from your address. Wait a minute."


@router.get("/sign-in")
def ask(request: Request, next: str = "") -> Response:  # noqa: A002  (what the address calls it)
    """The form."""
    return _form(request, next)


@router.post("/sign-in")
def sign_in(
    request: Request,
    resources: ResourcesDep,
    key: Annotated[str, Form(max_length=5000)] = "",
    next: Annotated[str, Form(max_length=1000)] = "",  # noqa: A002
    csrf: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Begin a session."""
    before = request.cookies.get(_before(request))
    check_origin(request, sessions.csrf_of(before) if before else secrets.token_hex(), csrf)
    attempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    if not attempts.are_left(address):
        return _form(request, next, _TOO_OFTEN, HTTP_429_TOO_MANY_REQUESTS)
    key = key.strip()
    lifetime = resources.settings.dashboard_session
    with resources.database.write() as session:
        token = sessions.sign_in(session, key, lifetime)
        visitor = sessions.visitor_of(session, token) if token else None
    if token is None or visitor is None:
        attempts.failed(address)
        is_token = key.count(".") == 2 and not key.startswith(KEY_PREFIX)
        return _form(request, next, _A_TOKEN if is_token else _NOT_GOOD, HTTP_401_UNAUTHORIZED)
    first = "/dashboard/" if visitor.may(Scope.REQUESTS_READ) else "/dashboard/models"
    answer = RedirectResponse(next if _OURS.fullmatch(next) else first, 303)
    _set(answer, request, cookie_name(request), token, int(lifetime.total_seconds()))
    answer.delete_cookie(_before(request), path="/", secure=_is_secure(request), httponly=True, samesite="strict")
    return answer


@router.post("/sign-out", dependencies=[FROM_OUR_PAGE])
def sign_out(request: Request, resources: ResourcesDep, _: VisitorDep) -> Response:
    """End the session."""
    with resources.database.write() as session:
        sessions.sign_out(session, request.cookies[cookie_name(request)])
    answer = RedirectResponse("/dashboard/sign-in?done=signed-out", 303)
    answer.delete_cookie(cookie_name(request), path="/", secure=_is_secure(request), httponly=True, samesite="strict")
    return answer


def _form(request: Request, following: str, wrong: str = "", status: int = 200) -> Response:
    """With a cookie of its own, so that nobody can sign somebody else in from another site."""
    before = request.cookies.get(_before(request)) or secrets.token_urlsafe(32)
    answer = page(
        request,
        "sign_in.html",
        status=status,
        token=sessions.csrf_of(before),
        following=following if _OURS.fullmatch(following) else "",
        wrong=wrong,
        takes_tokens=request.app.state.takes_tokens,
    )
    _set(answer, request, _before(request), before, 3600)
    return answer


def _before(request: Request) -> str:
    return f"{cookie_name(request)}-sign-in"


def _set(answer: Response, request: Request, name: str, content: str, seconds: int) -> None:
    answer.set_cookie(
        name, content, max_age=seconds, path="/", secure=_is_secure(request), httponly=True, samesite="strict"
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
