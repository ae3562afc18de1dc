"""The dashboard as an application: its pages, its files, and its errors as pages."""

from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from service.dashboard.attempts import Attempts
from service.dashboard.headers import Headers
from service.dashboard.pages import STATIC, page
from service.dashboard.routes import models, overview, pictures, requests, signing_in, webhooks
from service.dashboard.visitors import SignedOut, cookie_name
from service.registry.errors import RegistryError
from service.settings import ServiceSettings
from service.web import problem_types


def install(around: FastAPI, settings: ServiceSettings) -> None:
    """Put the dashboard below `/dashboard` of the service, whose resources it uses."""
    around.mount("/dashboard", _dashboard(settings))
    around.add_route("/dashboard", _to_first_page, include_in_schema=False)


async def _to_first_page(request: Request) -> Response:  # noqa: ARG001
    return RedirectResponse("/dashboard/", 308)


def _dashboard(settings: ServiceSettings) -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry={"logs": False})
    app.state.attempts = Attempts()
    app.state.takes_tokens = settings.jwks_url is not None
    app.add_middleware(Headers)
    for error in (RegistryError, OperationalError, PoolTimeout, Exception):
        app.add_exception_handler(error, _failed)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(SignedOut, _signed_out)
    for routes in (signing_in, overview, requests, pictures, models, webhooks):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


async def _signed_out(request: Request, error: Exception) -> Response:  # noqa: ARG001
    is_new = cookie_name(request) not in request.cookies
    if request.method == "GET" and is_new and request.headers.get("sec-fetch-site") == "cross-site":
        # A link from elsewhere: `SameSite=Strict` keeps the cookie back, but not when a page of ours asks again.
        return page(request, "again.html")
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    following = f"?{urlencode({'next': wanted})}" if request.method == "GET" and wanted != "/dashboard/" else ""
    return RedirectResponse(f"/dashboard/sign-in{following}", 303)


async def _failed(request: Request, error: Exception) -> Response:
    kind = problem_types.kind_of(error) or problem_types.TABLE[500]
    detail = error.detail if isinstance(error, RegistryError) else ""
    return _told(request, kind, detail)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    in_path = any(
        item["loc"][0] == "path" for item in error.errors()
    )  # what cannot be an identifier identifies nothing
    return _told(request, problem_types.TABLE[404 if in_path else RequestValidationError], "")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = problem_types.TABLE.get(error.status_code, problem_types.TABLE[400])
    return _told(request, kind, error.detail if error.status_code == 403 else "", status=error.status_code)


def _told(request: Request, kind: problem_types.Kind, detail: str, status: int | None = None) -> Response:
    return page(
        request,
        "error.html",
        status=status or kind.status,
        kind=kind,
        detail=detail,
        instance=request.state.request_id,
    )
