"""The routes and headers of version 1 (section 10.1)."""

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must
from service.cli.opendsr.target import Target


@must("v1-routes", "10.1")
def routes(target: Target) -> None:
    """A request, which had no regulation then, and its status; the answers are signed by the old names."""
    body = target.request(regulation=None, api_version="1.0")
    answer = target.create(body, "/opengdpr_requests")
    expectations.status(answer, 201)
    expectations.signed(target, answer.headers, answer.content, "OpenGDPR")
    answer = target.call("GET", f"/opengdpr_requests/{body['subject_request_id']}")
    expectations.status(answer, 200)
    if expectations.document(answer, "request_status"):
        expectations.signed(target, answer.headers, answer.content, "OpenGDPR")


@must("v1-cancellation", "10.1, 9.2")
def cancellation(target: Target) -> None:
    """The old route withdraws like the new one; or says that there is nothing left to withdraw."""
    body = target.request(names_known=True)
    expectations.status(target.create(body), 201)
    is_pending = expectations.request_status(target, body["subject_request_id"]) == "pending"
    answer = target.call("DELETE", f"/opengdpr_requests/{body['subject_request_id']}")
    expectations.status(answer, *((202,) if is_pending else (400, 409)))
