"""The routes and headers of version 1 (section 10.1)."""

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must
from service.cli.opendsr.target import Target


@must("v1-routes", "10.1")
def routes(target: Target) -> None:
    """Request, without the regulation of version 2, and status; signatures are in X-OpenGDPR-* headers."""
    body = target.request(regulation=None, api_version="1.0")
    response = target.create(body, "/opengdpr_requests")
    expectations.status(response, 201)
    expectations.signed(target, response.headers, response.content, "OpenGDPR")
    response = target.call("GET", f"/opengdpr_requests/{body['subject_request_id']}")
    expectations.status(response, 200)
    if expectations.document(response, "request_status"):
        expectations.signed(target, response.headers, response.content, "OpenGDPR")


@must("v1-cancellation", "10.1, 9.2")
def cancellation(target: Target) -> None:
    """The route of version 1 cancels a pending request, and refuses to cancel an ended one."""
    body = target.request(with_known_identity=True)
    expectations.status(target.create(body), 201)
    is_pending = expectations.request_status(target, body["subject_request_id"]) == "pending"
    response = target.call("DELETE", f"/opengdpr_requests/{body['subject_request_id']}")
    expectations.status(response, *((202,) if is_pending else (400, 409)))
