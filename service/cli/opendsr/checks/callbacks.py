"""Status callbacks (sections 8.5 to 8.7)."""

import json
import secrets

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must
from service.cli.opendsr.target import CheckFailed, CheckSkipped, Target


@must("callback", "8.5, 8.6")
def callback(target: Target) -> None:
    """A change of the status is sent to the callback URL, with every field, signed."""
    if target.receiver is None:
        raise CheckSkipped("there is nowhere to call; --listen says where")
    path = f"/{secrets.token_hex(8)}"
    url = target.receiver.url + path
    body = target.request(with_known_identity=True, status_callback_urls=[url])
    expectations.status(target.create(body), 201)
    if expectations.request_status(target, body["subject_request_id"]) == "pending":
        target.cancel(body["subject_request_id"])
    callback_request = target.receiver.wait_for(path)
    if callback_request is None:
        raise CheckFailed(f"no callback came within {target.receiver.patience:g} seconds")
    try:
        document = json.loads(callback_request.body)
    except ValueError:
        document = None
    fields = expectations.has(
        document,
        ("controller_id", "status_callback_url", "subject_request_id", "request_status", "expected_completion_time"),
    )
    expectations.time(fields, "expected_completion_time")
    if fields["status_callback_url"] != url or fields["subject_request_id"] != body["subject_request_id"]:
        raise CheckFailed("the callback is about another request, or for another URL")
    if fields["request_status"] not in expectations.STATUSES:
        raise CheckFailed("request_status is not one that section 8 knows")
    expectations.signed(target, callback_request.headers, callback_request.body)
