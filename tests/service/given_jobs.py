"""What a worker would do, without one."""

from datetime import timedelta

from service.registry.deletion_requests import publication
from service.registry.job_queue import claims, jobs
from service.registry.models import versions
from tests.service.registry.given_reasons import BROKEN


class Jobs:
    """Runs jobs by hand."""

    def __init__(self, database):
        self._database = database

    def claim(self, **more):
        with self._database.write() as session:
            return claims.take(session, worker="test", lease=timedelta(seconds=30), **more)

    def progress(self, claim, **more):
        with self._database.write() as session:
            claims.record_progress(session, claim, **more)

    def fail(self, claim, reason=BROKEN):
        with self._database.write() as session:
            claims.report_failure(session, claim, reason=reason)

    def publish(
        self, claim, *objections, measured=None, metrics=None, parent_metrics=None, own_metrics=None, **results
    ):
        """Give a claimed job its new version: the parent's file, under another number."""
        with self._database.write() as session:
            job = jobs.read(session, claim.job_id)
            parent = versions.require_latest_version(session, job.model)
            return publication.publish(
                session,
                claim,
                model=job.model,
                parent=parent,
                parent_metrics=parent_metrics or {},
                objections=objections,
                results={"metrics": measured or {}, "seconds": {"load": 0.5}, "peak_memory": 9, **results},
                own_metrics=own_metrics,
                checkpoint=parent.checkpoint,
                sha256=parent.sha256,
                size=parent.size,
                method="structguard",
                config={"seed": 0},
                code_version="0",
                metrics=metrics or {},
            )
