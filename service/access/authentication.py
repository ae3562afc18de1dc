"""Who is calling? Answered before the body is read, which may be gigabytes from a stranger. Pure ASGI."""

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

#: What anybody may read: is it up, what does it offer, what does an error mean, and who signs for it. The dashboard
#: looks itself who is signed in.
_OPEN = (
    "/dashboard",
    *("/livez", "/readyz", "/docs", "/openapi.json", "/problems"),
    "/metrics",  # the route itself looks who asks: it is not any tenant's
    *("/discovery", "/v1/discovery", "/v2/discovery", "/cert.pem", "/v2/cert.pem"),
)

_CHALLENGE = 'Bearer realm="structguard"'


class Authentication:
    """Puts the `Caller` into the request's state; answers itself where there is none, or one who asks too often."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._tokens = _tokens(settings)
        self._quota = Quota(settings) if settings.rate_limit else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  (ASGI)
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        credentials = _bearer(Headers(scope=scope).get("authorization"))
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
        await self._limited(await self._quota.spend(caller), scope, receive, send)

    async def _limited(self, window: Window, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(window.headers)
            await send(message)

        if window.is_left:
            await self._app(scope, receive, told)
            return
        await problems.answer(
            scope["state"]["request_id"],
            problem_types.TABLE[429],
            "The quota of this window is used up.",
            headers={"Retry-After": str(window.seconds), "Connection": "close"},
            more={"violated-policies": [POLICY]},
        )(scope, receive, told)

    async def _identify(self, resources: Resources, credentials: str | None) -> Caller | None:
        if credentials is None:
            return None
        if not credentials.startswith(api_keys.KEY_PREFIX):
            return await run_in_threadpool(self._bearer_of, resources.database, credentials)
        caller = resources.callers.get(credentials)
        if caller is None:
            caller = await run_in_threadpool(_owner_of, resources.database, credentials)
            if caller is not None:
                resources.callers[credentials] = caller
        return caller

    def _bearer_of(self, database: Database, token: str) -> Caller | None:
        claims = self._tokens.read(token) if self._tokens else None
        if claims is None:
            return None
        with database.read() as session:
            try:
                tenant = api_keys.find_tenant(session, claims.tenant)
            except TenantNotFound:
                return None
        return Caller(tenant.id, f"jwt:{claims.subject}", claims.scopes, Pseudonyms(tenant.pseudonym_key))


def _owner_of(database: Database, key: str) -> Caller | None:
    with database.read() as session:
        return api_keys.authenticate(session, key)


def _tokens(settings: ServiceSettings) -> "JsonWebTokens | None":
    if settings.jwks_url is None:
        return None
    # Here, because PyJWT and cryptography take a while to import, and many installations have no identity provider.
    from service.access.bearer_tokens import JsonWebTokens  # noqa: PLC0415

    return JsonWebTokens(settings)


def _is_open(path: str) -> bool:
    return any(path == open_ or path.startswith(f"{open_}/") for open_ in _OPEN)


def _bearer(authorization: str | None) -> str | None:
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip() or None if scheme.lower() == "bearer" else None
