"""The span of one attempt at a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from service.registry.job_queue import jobs
from service.registry.job_queue.claims import Claim
from service.registry.storage.database import Database
from service.registry.telemetry import traces


@contextmanager
def job(database: Database, claim: Claim) -> Iterator[Span]:
    """A consumer span, child of the job's first request; further requests of the same job are linked to it."""
    if not traces.enabled():
        yield INVALID_SPAN
        return
    with database.read() as session:
        requests = jobs.requests_of(session, claim.job_id)
    traceparents = [request.traceparent for request in requests if request.traceparent]
    parent = next(iter(traceparents), None)
    with traces.span("job", parent=parent, links=traceparents[1:], kind=SpanKind.CONSUMER) as span:
        span.set_attributes(
            {
                "structguard.job.id": str(claim.job_id),
                "structguard.job.attempt": claim.attempt,
                "structguard.job.requests": len(requests),
            }
        )
        yield span
