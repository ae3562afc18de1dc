"""Requests, their status and their cancellation (sections 7.1 to 7.4, 8.1 to 8.4 and 9)."""

import base64

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must, should
from service.cli.opendsr.target import CheckFailed, CheckSkipped, Target


@must("request-created", "7.3")
def created(target: Target) -> None:
    """A request is answered with 201 and every field of a receipt."""
    body = target.request()
    response = target.create(body)
    expectations.status(response, 201)
    receipt = expectations.document(
        response,
        *("controller_id", "expected_completion_time", "received_time", "encoded_request", "subject_request_id"),
    )
    if receipt["subject_request_id"] != body["subject_request_id"]:
        raise CheckFailed("subject_request_id is not the one of the request")
    if expectations.time(receipt, "expected_completion_time") < expectations.time(receipt, "received_time"):
        raise CheckFailed("expected_completion_time is before received_time")


@must("request-signed", "7.3, 4.2")
def receipt_signed(target: Target) -> None:
    """The receipt is signed by the published certificate, over the bytes of its body."""
    response = target.create(target.request())
    expectations.status(response, 201)
    expectations.signed(target, response.headers, response.content)


@must("request-encoded", "7.3")
def encoded(target: Target) -> None:
    """The receipt repeats the body, byte for byte, in Base64."""
    response = target.create(target.request())
    expectations.status(response, 201)
    try:
        repeated = base64.b64decode(str(expectations.document(response, "encoded_request")["encoded_request"]))
    except ValueError:
        repeated = b""
    if repeated != response.request.content:
        raise CheckFailed("encoded_request is not the body that was sent")


@should("request-not-cached", "erratum 9")
def not_cached(target: Target) -> None:
    """The receipt, which repeats identities, has `Cache-Control: no-store`."""
    response = target.create(target.request())
    if "no-store" not in response.headers.get("Cache-Control", ""):
        raise CheckFailed("Cache-Control is not no-store")


@must("request-with-foreign-extension", "7.1.2")
def foreign_extension(target: Target) -> None:
    """An extension for another processor is ignored."""
    expectations.status(target.create(target.request(extensions={"processor.example": {"id": 1}})), 201)


@should("request-repeated", "erratum 7")
def repeated(target: Target) -> None:
    """The same body again gets the same response."""
    body = target.request()
    first, second = target.create(body), target.create(body)
    expectations.status(first, 201)
    expectations.status(second, 201)
    if first.content != second.content:
        raise CheckFailed("the second answer differs from the first")


@should("request-identifier-reused", "erratum 7")
def reused(target: Target) -> None:
    """Another body under the same identifier is refused."""
    body = target.request()
    expectations.status(target.create(body), 201)
    expectations.status(target.create(body | {"subject_identities": [target.unknown_identity()]}), 400, 409)


@must("status", "8.3")
def status(target: Target) -> None:
    """The status is answered with 200, every field, and one of the four statuses."""
    body = target.request()
    expectations.status(target.create(body), 201)
    response = target.status(body["subject_request_id"])
    expectations.status(response, 200)
    document = expectations.document(
        response, "controller_id", "expected_completion_time", "subject_request_id", "request_status"
    )
    expectations.time(document, "expected_completion_time")
    if document["subject_request_id"] != body["subject_request_id"]:
        raise CheckFailed("subject_request_id is not the one of the request")
    if document["request_status"] not in expectations.STATUSES:
        raise CheckFailed("request_status is not one that section 8 knows")


@must("status-signed", "8.3")
def status_signed(target: Target) -> None:
    """The status is signed like the receipt."""
    body = target.request()
    expectations.status(target.create(body), 201)
    response = target.status(body["subject_request_id"])
    expectations.signed(target, response.headers, response.content)


@should("status-endpoint", "3.1, erratum 2")
def status_endpoint(target: Target) -> None:
    """The status is also at `/status/…`, the path of section 3.1."""
    body = target.request()
    expectations.status(target.create(body), 201)
    expectations.status(target.call("GET", f"{target.prefix}/status/{body['subject_request_id']}"), 200)


@must("cancellation", "9.2")
def cancellation(target: Target) -> None:
    """A pending request is cancelled with 202, every field, signed; then its status is cancelled."""
    subject_request_id = _pending(target)
    response = target.cancel(subject_request_id)
    expectations.status(response, 202)
    document = expectations.document(response, "controller_id", "received_time", "subject_request_id")
    expectations.time(document, "received_time")
    if document["subject_request_id"] != subject_request_id:
        raise CheckFailed("subject_request_id is not the one of the request")
    expectations.signed(target, response.headers, response.content)
    if expectations.request_status(target, subject_request_id) != "cancelled":
        raise CheckFailed("request_status is not cancelled afterwards")


def _pending(target: Target) -> str:
    body = target.request(with_known_identity=True)
    expectations.status(target.create(body), 201)
    subject_request_id: str = body["subject_request_id"]
    if expectations.request_status(target, subject_request_id) != "pending":
        raise CheckSkipped("the request did not stay pending; --identity names somebody whom the processor knows")
    return subject_request_id


@must("cancellation-of-ended", "9")
def cancellation_of_ended(target: Target) -> None:
    """A request that is no longer pending is not cancelled."""
    body = target.request()
    expectations.status(target.create(body), 201)
    if expectations.request_status(target, body["subject_request_id"]) != "completed":
        raise CheckSkipped("the request did not end at once")
    expectations.status(target.cancel(body["subject_request_id"]), 400, 409)
    if expectations.request_status(target, body["subject_request_id"]) != "completed":
        raise CheckFailed("request_status is no longer completed")
