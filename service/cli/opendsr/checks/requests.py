"""Requests, their status and their cancellation (sections 7.1 to 7.4, 8.1 to 8.4 and 9)."""

import base64

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must, should
from service.cli.opendsr.target import Missed, Skipped, Target


@must("request-created", "7.3")
def created(target: Target) -> None:
    """201, with every field of a receipt."""
    body = target.request()
    answer = target.create(body)
    expectations.status(answer, 201)
    found = expectations.document(
        answer,
        *("controller_id", "expected_completion_time", "received_time", "encoded_request", "subject_request_id"),
    )
    if found["subject_request_id"] != body["subject_request_id"]:
        raise Missed("subject_request_id is not the one of the request")
    if expectations.time(found, "expected_completion_time") < expectations.time(found, "received_time"):
        raise Missed("expected_completion_time is before received_time")


@must("request-signed", "7.3, 4.2")
def receipt_signed(target: Target) -> None:
    """By the published certificate, over the bytes that were sent."""
    answer = target.create(target.request())
    expectations.status(answer, 201)
    expectations.signed(target, answer.headers, answer.content)


@must("request-encoded", "7.3")
def encoded(target: Target) -> None:
    """The receipt repeats the body, byte for byte, in Base64."""
    answer = target.create(target.request())
    expectations.status(answer, 201)
    try:
        repeated = base64.b64decode(str(expectations.document(answer, "encoded_request")["encoded_request"]))
    except ValueError:
        repeated = b""
    if repeated != answer.request.content:
        raise Missed("encoded_request is not the body that was sent")


@should("request-not-cached", "erratum 9")
def not_cached(target: Target) -> None:
    """The receipt repeats identities: nobody on the way may keep it."""
    answer = target.create(target.request())
    if "no-store" not in answer.headers.get("Cache-Control", ""):
        raise Missed("Cache-Control is not no-store")


@must("request-with-foreign-extension", "7.1.2")
def foreign_extension(target: Target) -> None:
    """What is meant for another processor is none of this one's business."""
    expectations.status(target.create(target.request(extensions={"processor.example": {"id": 1}})), 201)


@should("request-repeated", "erratum 7")
def repeated(target: Target) -> None:
    """The same body again is the same request, with the same answer."""
    body = target.request()
    first, second = target.create(body), target.create(body)
    expectations.status(first, 201)
    expectations.status(second, 201)
    if first.content != second.content:
        raise Missed("the second answer differs from the first")


@should("request-identifier-reused", "erratum 7")
def reused(target: Target) -> None:
    """Another body under the same identifier is refused."""
    body = target.request()
    expectations.status(target.create(body), 201)
    expectations.status(target.create(body | {"subject_identities": [target.nobody()]}), 400, 409)


@must("status", "8.3")
def status(target: Target) -> None:
    """200, with every field, and one of the four statuses."""
    body = target.request()
    expectations.status(target.create(body), 201)
    answer = target.status(body["subject_request_id"])
    expectations.status(answer, 200)
    found = expectations.document(
        answer, "controller_id", "expected_completion_time", "subject_request_id", "request_status"
    )
    expectations.time(found, "expected_completion_time")
    if found["subject_request_id"] != body["subject_request_id"]:
        raise Missed("subject_request_id is not the one of the request")
    if found["request_status"] not in expectations.STATUSES:
        raise Missed("request_status is not one that section 8 knows")


@must("status-signed", "8.3")
def status_signed(target: Target) -> None:
    """Like the receipt."""
    body = target.request()
    expectations.status(target.create(body), 201)
    answer = target.status(body["subject_request_id"])
    expectations.signed(target, answer.headers, answer.content)


@should("status-endpoint", "3.1, erratum 2")
def status_endpoint(target: Target) -> None:
    """The other name that section 3.1 has for it."""
    body = target.request()
    expectations.status(target.create(body), 201)
    expectations.status(target.call("GET", f"{target.prefix}/status/{body['subject_request_id']}"), 200)


@must("cancellation", "9.2")
def cancellation(target: Target) -> None:
    """202 while the request is pending, with every field, signed; then it is cancelled."""
    subject_request_id = _pending(target)
    answer = target.cancel(subject_request_id)
    expectations.status(answer, 202)
    found = expectations.document(answer, "controller_id", "received_time", "subject_request_id")
    expectations.time(found, "received_time")
    if found["subject_request_id"] != subject_request_id:
        raise Missed("subject_request_id is not the one of the request")
    expectations.signed(target, answer.headers, answer.content)
    if expectations.request_status(target, subject_request_id) != "cancelled":
        raise Missed("request_status is not cancelled afterwards")


def _pending(target: Target) -> str:
    body = target.request(names_known=True)
    expectations.status(target.create(body), 201)
    subject_request_id: str = body["subject_request_id"]
    if expectations.request_status(target, subject_request_id) != "pending":
        raise Skipped("the request did not stay pending; --identity names somebody whom the processor knows")
    return subject_request_id


@must("cancellation-of-ended", "9")
def cancellation_of_ended(target: Target) -> None:
    """A request that is no longer pending is not cancelled."""
    body = target.request()
    expectations.status(target.create(body), 201)
    if expectations.request_status(target, body["subject_request_id"]) != "completed":
        raise Skipped("the request did not end at once")
    expectations.status(target.cancel(body["subject_request_id"]), 400, 409)
    if expectations.request_status(target, body["subject_request_id"]) != "completed":
        raise Missed("request_status is no longer completed")
