"""One POST to one endpoint, with limits on time and size, and without redirects or proxies."""

import asyncio
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from service.registry.webhooks.outbox import DeliveryOutcome
from service.webhooks import addresses

TIMEOUT = 15.0
"""Seconds from the first packet to the last header."""

_CONNECT_TIMEOUT = 5.0  # seconds, for each of the host's addresses
_DRAIN_TIMEOUT = 2.0  # seconds
_MAX_DRAINED = 64 * 1024  # bytes

#: Only with these statuses is `Retry-After` read.
_THROTTLING = (429, 502, 503, 504)


def post(address: str, headers: dict[str, str], body: bytes, *, private: bool, tls: ssl.SSLContext) -> DeliveryOutcome:
    """Send `body` once, without following redirects.

    Failures are not raised: `error` of the outcome is then `not_allowed`, `timeout`, `tls`, `connection` or
    `unknown_host`.

    Args:
        address: the URL, as the tenant has registered it.
        private: whether it may be a private address, and plain HTTP.
    """
    began = time.monotonic()
    status = error = retry_after = None
    try:
        url = addresses.check(address, private=private)
        response = asyncio.run(_exchange(url, addresses.resolve(url, private=private), headers, body, tls))
        status = response.status_code
        if status in _THROTTLING:
            retry_after = _retry_after(response.headers.get("retry-after"))
    except addresses.NotAllowed:
        error = "not_allowed"
    except (TimeoutError, httpx.TimeoutException):
        error = "timeout"
    except httpx.TransportError as problem:
        error = "tls" if _is_tls_error(problem) else "connection"
    except OSError:
        error = "unknown_host"
    milliseconds = round(1000 * (time.monotonic() - began))
    return DeliveryOutcome(milliseconds=milliseconds, status=status, error=error, retry_after=retry_after)


async def _exchange(
    url: httpx.URL, targets: list[str], headers: dict[str, str], body: bytes, tls: ssl.SSLContext
) -> httpx.Response:
    # A transport and no client: it knows no proxies, redirects or cookies, and does not log the address, which may
    # hold a secret.
    async with httpx.AsyncHTTPTransport(verify=tls) as transport:
        async with asyncio.timeout(TIMEOUT):  # httpx has only timeouts that start anew with every packet
            response = await _first_to_connect(transport, url, targets, headers, body)
        try:
            # Only the status counts. Some of the body is read so that the server can end its response in order.
            with suppress(TimeoutError, httpx.TransportError):
                async with asyncio.timeout(_DRAIN_TIMEOUT):
                    async for _ in response.aiter_raw():
                        if response.num_bytes_downloaded >= _MAX_DRAINED:
                            break
        finally:
            await response.aclose()
        return response


async def _first_to_connect(
    transport: httpx.AsyncHTTPTransport, url: httpx.URL, targets: list[str], headers: dict[str, str], body: bytes
) -> httpx.Response:
    for target in targets:
        request = httpx.Request(
            "POST",
            url.copy_with(host=target),
            headers={"Host": url.netloc.decode(), "Content-Type": "application/json", **headers},
            content=body,
            extensions={
                "timeout": httpx.Timeout(TIMEOUT, connect=_CONNECT_TIMEOUT).as_dict(),
                "sni_hostname": url.raw_host.decode(),  # the certificate has to be the name's, not the address's
            },
        )
        try:
            return await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if target == targets[-1]:
                raise
    raise OSError("the host has no address")


def _is_tls_error(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


def _retry_after(text: str | None) -> timedelta | None:
    """RFC 9110, section 10.2.3: seconds, or a date."""
    if text is None:
        return None
    if text.isdecimal():
        return timedelta(seconds=int(text[:9]))
    try:
        return max(parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC), timedelta(0))
    except (ValueError, OverflowError):
        return None
