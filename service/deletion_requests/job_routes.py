"""Routes of jobs, the unlearning runs."""

from fastapi import APIRouter

from service.deletion_requests.job_schemas import JobAnswer, StepAnswer
from service.registry.job_queue import jobs
from service.web.dependencies import Cursor, Identifier, Limit, ReadSession, RequestReader
from service.web.fields import Everything, Listing
from service.web.problems import documented

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])


@router.get("", summary="List jobs", responses=documented(422))
def list_jobs(
    caller: RequestReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[JobAnswer]:
    """All unlearning runs of the tenant, newest first, those that wait too."""
    return Listing.of(jobs.list_jobs(session, caller.tenant_id, cursor=cursor, limit=limit), JobAnswer.of)


@router.get("/{job_id}", summary="Read a job", responses=documented(404))
def read_job(job_id: Identifier, caller: RequestReader, session: ReadSession) -> JobAnswer:
    """One job: how far it is, what it took, and what it measured."""
    return JobAnswer.of(jobs.find(session, caller.tenant_id, job_id))


@router.get("/{job_id}/steps", summary="Read a job's curves", responses=documented(404))
def read_job_steps(job_id: Identifier, caller: RequestReader, session: ReadSession) -> Everything[StepAnswer]:
    """The points of the latest attempt, in order: what was measured at each step, and the terms of the objective."""
    points = jobs.curve(session, jobs.find(session, caller.tenant_id, job_id))
    return Everything(items=[StepAnswer.of(point) for point in points])
