"""Status callbacks (sections 8.5 to 8.7)."""

import json
import secrets

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must
from service.cli.opendsr.target import Missed, Skipped, Target


@must("callback", "8.5, 8.6")
def callback(target: Target) -> None:
    """A change of the status is told, with every field, signed."""
    if target.receiver is None:
        raise Skipped("there is nowhere to call; --listen says where")
    path = f"/{secrets.token_hex(8)}"
    url = target.receiver.url + path
    body = target.request(names_known=True, status_callback_urls=[url])
    expectations.status(target.create(body), 201)
    if expectations.request_status(target, body["subject_request_id"]) == "pending":
        target.cancel(body["subject_request_id"])
    received = target.receiver.first(path)
    if received is None:
        raise Missed(f"no callback came within {target.receiver.patience:g} seconds")
    try:
        document = json.loads(received.body)
    except ValueError:
        document = None
    found = expectations.has(
        document,
        ("controller_id", "status_callback_url", "subject_request_id", "request_status", "expected_completion_time"),
    )
    expectations.time(found, "expected_completion_time")
    if found["status_callback_url"] != url or found["subject_request_id"] != body["subject_request_id"]:
        raise Missed("the callback is about another request, or for another URL")
    if found["request_status"] not in expectations.STATUSES:
        raise Missed("request_status is not one that section 8 knows")
    expectations.signed(target, received.headers, received.body)
