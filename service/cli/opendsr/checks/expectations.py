"""Expectations that several checks share. Each raises `CheckFailed` where it is not met."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx

from service.cli.opendsr.signatures import fault_of_signature, is_issued_for
from service.cli.opendsr.target import CheckFailed, Target

STATUSES = frozenset({"pending", "in_progress", "completed", "cancelled"})

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def status(response: httpx.Response, *expected: int) -> None:
    """The response has one of these statuses."""
    if response.status_code not in expected:
        raise CheckFailed(f"expected {' or '.join(map(str, expected))}, got {response.status_code}")


def document(response: httpx.Response, *fields: str) -> dict[str, Any]:
    """The response is a JSON object that has these fields, none of them empty; the object."""
    try:
        body = response.json()
    except ValueError:
        body = None
    return has(body, fields)


def has(body: object, fields: Iterable[str]) -> dict[str, Any]:
    """The parsed body is a JSON object that has these fields, none of them empty; the object."""
    if not isinstance(body, dict):
        raise CheckFailed("the body is not a JSON object")
    missing = [name for name in fields if body.get(name) in (None, "")]
    if missing:
        raise CheckFailed(f"these fields are missing: {', '.join(missing)}")
    return body


def request_status(target: Target, subject_request_id: str) -> str:
    """The `request_status` of a request, as the processor reports it."""
    response = target.status(subject_request_id)
    status(response, 200)
    return str(document(response, "request_status")["request_status"])


def time(document: Mapping[str, Any], name: str) -> datetime:
    """The field is a time with an offset, as of RFC 3339; the time."""
    text = document.get(name)
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise CheckFailed(f"{name} is not a time of RFC 3339")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise CheckFailed(f"{name} is not a time of RFC 3339") from None


def signed(target: Target, headers: Mapping[str, str], body: bytes, name: str = "OpenDSR") -> None:
    """The headers hold a signature of the body by the published certificate, and its domain."""
    fault = fault_of_signature(target.certificates[0], headers, body, name)
    if fault is not None:
        raise CheckFailed(fault)
    domain = headers.get(f"X-{name}-Processor-Domain")
    if not domain:
        raise CheckFailed(f"there is no X-{name}-Processor-Domain")
    if not is_issued_for(target.certificates[0], domain):
        raise CheckFailed(f"the certificate is not for the domain in X-{name}-Processor-Domain")


def error(response: httpx.Response) -> None:
    """The response is an error object of section 7.6 with its own status as the code."""
    fields = has(document(response, "error")["error"], ["code"])
    if fields["code"] != response.status_code:
        raise CheckFailed("error.code is not the status of the response")
