"""What several checks expect of an answer."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx

from service.cli.opendsr.signatures import fault_of_signature, is_for
from service.cli.opendsr.target import Missed, Target

STATUSES = frozenset({"pending", "in_progress", "completed", "cancelled"})

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def status(answer: httpx.Response, *expected: int) -> None:
    """The answer has one of these statuses."""
    if answer.status_code not in expected:
        raise Missed(f"expected {' or '.join(map(str, expected))}, got {answer.status_code}")


def document(answer: httpx.Response, *fields: str) -> dict[str, Any]:
    """The answer is a JSON object that has these fields, none of them empty."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    return has(found, fields)


def has(found: object, fields: Iterable[str]) -> dict[str, Any]:
    """It is a JSON object that has these fields, none of them empty."""
    if not isinstance(found, dict):
        raise Missed("the body is not a JSON object")
    missing = [name for name in fields if found.get(name) in (None, "")]
    if missing:
        raise Missed(f"these fields are missing: {', '.join(missing)}")
    return found


def request_status(target: Target, subject_request_id: str) -> str:
    """How far a request is, by its own word."""
    answer = target.status(subject_request_id)
    status(answer, 200)
    return str(document(answer, "request_status")["request_status"])


def time(found: Mapping[str, Any], name: str) -> datetime:
    """The field is a time with an offset, as of RFC 3339."""
    text = found.get(name)
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise Missed(f"{name} is not a time of RFC 3339")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise Missed(f"{name} is not a time of RFC 3339") from None


def signed(target: Target, headers: Mapping[str, str], body: bytes, name: str = "OpenDSR") -> None:
    """The signature is of the body, by the published certificate, which is for the domain that is named."""
    fault = fault_of_signature(target.certificates[0], headers, body, name)
    if fault is not None:
        raise Missed(fault)
    domain = headers.get(f"X-{name}-Processor-Domain")
    if not domain:
        raise Missed(f"there is no X-{name}-Processor-Domain")
    if not is_for(target.certificates[0], domain):
        raise Missed(f"the certificate is not for the domain in X-{name}-Processor-Domain")


def error(answer: httpx.Response) -> None:
    """The answer is an error object."""
    found = has(document(answer, "error")["error"], ["code"])
    if found["code"] != answer.status_code:
        raise Missed("error.code is not the status of the response")
