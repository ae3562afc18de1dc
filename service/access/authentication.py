"""ASGI middleware that authenticates callers before it reads a body, which may be gigabytes from anybody."""

from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.rate_limit import POLICY, Quota, Window
from service.registry.access import api_keys
from service.registry.access.scopes import Caller
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import TenantNotFound
from service.registry.storage.database import Database
from service.settings import ServiceSettings
from service.web import problem_types, problems
from service.web.dependencies import Resources

if TYPE_CHECKING:
    from service.access.bearer_tokens import JsonWebTokens

#: Paths that take no API key, with everything below them: health, documentation, and what OpenDSR publishes.
_PUBLIC_PATHS = (
    "/dashboard",  # has sessions of its own
    "/livez",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/problems",
    "/metrics",  # belongs to no tenant; the route checks a token of its own
    "/discovery",
    "/v1/discovery",
    "/v2/discovery",
    "/cert.pem",
    "/v2/cert.pem",
)

_CHALLENGE = 'Bearer realm="structguard"'


class Authentication:
    """Puts the `Caller` into the request's state; answers 401 without one, 429 over quota, 503 without a database."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._tokens = _tokens(settings)
        self._quota = Quota(settings) if settings.rate_limit else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http" or _is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        credentials = _bearer_credentials(Headers(scope=scope).get("authorization"))
        try:
            caller = await self._identify(state["resources"], credentials)
        except (OperationalError, PoolTimeout) as error:
            await problems.unavailable(state["request_id"], error)(scope, receive, send)
            return
        if caller is None:
            # RFC 6750, section 3.1: no error code where no credentials were sent.
            challenge = f'{_CHALLENGE}, error="invalid_token"' if credentials else _CHALLENGE
            await problems.answer(
                state["request_id"],
                problem_types.TABLE[401],
                "Send an API key or a token: `Authorization: Bearer …`.",
                headers={"WWW-Authenticate": challenge, "Connection": "close"},
            )(scope, receive, send)
            return
        state["caller"] = caller
        if self._quota is None:
            await self._app(scope, receive, send)
            return
        await self._answer_within(await self._quota.spend(caller), scope, receive, send)

    async def _answer_within(self, window: Window, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(window.headers)
            await send(message)

        if window.is_allowed:
            await self._app(scope, receive, send_with_headers)
            return
        await problems.answer(
            scope["state"]["request_id"],
            problem_types.TABLE[429],
            "The quota of this window is used up.",
            headers={"Retry-After": str(window.reset_seconds), "Connection": "close"},
            extensions={"violated-policies": [POLICY]},
        )(scope, receive, send_with_headers)

    async def _identify(self, resources: Resources, credentials: str | None) -> Caller | None:
        if credentials is None:
            return None
        if not credentials.startswith(api_keys.KEY_PREFIX):
            return await run_in_threadpool(self._caller_of_token, resources.database, credentials)
        caller = resources.callers.get(credentials)
        if caller is None:
            caller = await run_in_threadpool(_caller_of_key, resources.database, credentials)
            if caller is not None:
                resources.callers[credentials] = caller
        return caller

    def _caller_of_token(self, database: Database, token: str) -> Caller | None:
        claims = self._tokens.read(token) if self._tokens else None
        if claims is None:
            return None
        with database.read() as session:
            try:
                tenant = api_keys.find_tenant(session, claims.tenant)
            except TenantNotFound:
                return None
        return Caller(tenant.id, f"jwt:{claims.subject}", claims.scopes, Pseudonyms(tenant.pseudonym_key))


def _caller_of_key(database: Database, key: str) -> Caller | None:
    with database.read() as session:
        return api_keys.authenticate(session, key)


def _tokens(settings: ServiceSettings) -> "JsonWebTokens | None":
    if settings.jwks_url is None:
        return None
    from service.access.bearer_tokens import JsonWebTokens  # noqa: PLC0415

    return JsonWebTokens(settings)


def _is_public(path: str) -> bool:
    return any(path == public or path.startswith(f"{public}/") for public in _PUBLIC_PATHS)


def _bearer_credentials(authorization: str | None) -> str | None:
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip() or None if scheme.lower() == "bearer" else None
