"""Where callbacks may go: an address that a tenant chose must not lead into the operator's own network (SSRF).

What counts is the address that is connected to, so each delivery resolves the name itself, checks every answer and
connects to one of those: a second lookup, which could be answered differently (DNS rebinding), never happens.
"""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

_NAME = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,252}")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class NotAllowed(ValueError):
    """Callbacks do not go there. The message never repeats the URL."""


def check(text: str, *, private: bool) -> "httpx.URL":
    """The parsed URL, checked as far as is possible without resolving its host name.

    Raises:
        NotAllowed: callbacks may not go there; the message says why.
    """
    import httpx  # noqa: PLC0415

    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise NotAllowed("must be a URL") from error
    if url.scheme != "https" and not (private and url.scheme == "http"):
        raise NotAllowed("must begin with https://")
    if url.userinfo or "#" in text:
        raise NotAllowed("must have neither credentials nor a fragment")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise NotAllowed("must have a port from 1 to 65535")
    host = url.raw_host.decode()
    literal = _literal(host)
    if literal is None and not _NAME.fullmatch(host):
        raise NotAllowed("must have a host name or an IP address")
    is_local = f".{host.rstrip('.')}".endswith(".localhost")  # RFC 6761, section 6.3
    if not private and (is_local or (literal is not None and not _is_public(literal))):
        raise NotAllowed("must have a public address")
    return url


def resolve(url: "httpx.URL", *, private: bool) -> list[str]:
    """The IP addresses of the URL's host, in the order of preference.

    Raises:
        NotAllowed: one of them is not public: the DNS of the name could make us connect to that one.
        OSError: there are none (`socket.gaierror`).
    """
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    try:
        results = socket.getaddrinfo(url.raw_host.decode(), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no DNS name has, such as an empty one
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in results))
    if not private and not all(_is_public(ip_address(address)) for address in addresses):
        raise NotAllowed("must have a public address")
    return addresses


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Globally routable, and so is the IPv4 address that an IPv6 address may stand for."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if address.is_site_local:  # deprecated, and still routed inside some networks
            return False
    # `is_global` alone is true of multicast groups, and of addresses that IANA has reserved.
    return address.is_global and not address.is_multicast and not address.is_reserved
