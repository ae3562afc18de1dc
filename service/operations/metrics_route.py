"""Route that Prometheus scrapes."""

import hmac
import ipaddress

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import choose_encoder
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from service.web.dependencies import ResourcesDep
from service.web.problems import documented

router = APIRouter(tags=["Health"])

#: Headers of requests that came through a proxy, whose client address is the proxy's. Not every proxy sets one: behind
#: a proxy, set a token.
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse, responses=documented(401))
def read_metrics(request: Request, resources: ResourcesDep) -> Response:
    """How the whole installation stands, over all tenants, and how this process answers.

    Text, or OpenMetrics if `Accept` asks for it. With `Authorization: Bearer` and the token that the operator has set;
    where there is none, only for callers on the same machine.
    """
    if not _is_allowed(request, resources.settings.metrics_token):
        raise HTTPException(
            401,
            "Send the token of the setting `metrics_token`: `Authorization: Bearer …`.",
            {"WWW-Authenticate": 'Bearer realm="structguard metrics"'},
        )
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(resources.metrics), media_type=media_type)


def _is_allowed(request: Request, token: SecretStr | None) -> bool:
    if token is not None:
        credentials = request.headers.get("authorization", "").partition(" ")[2]
        return hmac.compare_digest(credentials.encode(), token.get_secret_value().encode())
    if request.client is None or any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:  # a name, or a socket's path
        return False
