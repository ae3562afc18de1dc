"""The span of one attempt at a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.registry.job_queue import jobs
from service.registry.job_queue.claims import Claim
from service.registry.storage.database import Database
from service.registry.telemetry import traces


@contextmanager
def job(database: Database, claim: Claim) -> Iterator[traces.Span]:
    """Below the request that came first; those that share its run are linked."""
    if not traces.are_on():
        yield traces.Span(None)
        return
    with database.read() as session:
        requests = jobs.requests_of(session, claim.job_id)
    asked = [request.traceparent for request in requests if request.traceparent]
    with traces.span("job", parent=next(iter(asked), None), links=asked[1:], kind="consumer") as span:
        span.describe(
            structguard__job__id=str(claim.job_id),
            structguard__job__attempt=claim.attempt,
            structguard__job__requests=len(requests),
        )
        yield span
