"""The dashboard's FastAPI application: routes, static files, and pages for errors."""

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


def install(service: FastAPI, settings: ServiceSettings) -> None:
    """Mount the dashboard below `/dashboard` of the service, whose resources it uses."""
    service.mount("/dashboard", _dashboard(settings))
    service.add_route("/dashboard", _redirect_to_overview, include_in_schema=False)


async def _redirect_to_overview(request: Request) -> Response:  # noqa: ARG001
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
        # A link from another site: `SameSite=Strict` withholds the cookie, but not if `again.html` repeats the request.
        return page(request, "again.html")
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = f"?{urlencode({'next': target})}" if request.method == "GET" and target != "/dashboard/" else ""
    return RedirectResponse(f"/dashboard/sign-in{query}", 303)


async def _failed(request: Request, error: Exception) -> Response:
    kind = problem_types.problem_type_of(error) or problem_types.TABLE[500]
    detail = error.detail if isinstance(error, RegistryError) else ""
    return _error_page(request, kind, detail)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # A path parameter that cannot be an identifier is answered like one that identifies nothing.
    in_path = any(item["loc"][0] == "path" for item in error.errors())
    return _error_page(request, problem_types.TABLE[404 if in_path else RequestValidationError], "")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = problem_types.TABLE.get(error.status_code, problem_types.TABLE[400])
    return _error_page(request, kind, error.detail if error.status_code == 403 else "", status=error.status_code)


def _error_page(request: Request, kind: problem_types.ProblemType, detail: str, status: int | None = None) -> Response:
    return page(
        request,
        "error.html",
        status=status or kind.status,
        kind=kind,
        detail=detail,
        instance=request.state.request_id,
    )
