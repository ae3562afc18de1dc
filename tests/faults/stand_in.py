"""A job without torch: everything that `worker.job` does with the registry and the store, and nothing that it computes.

Loading torch takes seconds of CPU, and a thousand jobs would take hours. Jobs of the model `real` are real ones.
"""

import hashlib
import logging
import os
import random
import sys
import threading
import time
import uuid
from types import SimpleNamespace

from sqlalchemy.exc import SQLAlchemyError

from service.registry.deletion_requests import publication
from service.registry.errors import FenceLost
from service.registry.job_queue import claims, jobs
from service.registry.job_queue.claims import CancelRequested, Claim
from service.registry.models import versions
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import Phase
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from worker.job.progress_report import ProgressReport
from worker.settings import WorkerSettings

REAL = "real"  # name of the model whose jobs are not stood in for
_SIZE = 1 << 16  # bytes of a checkpoint


def main() -> None:
    """As in `worker.job`, to the letter."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    job_id, fence, attempt = sys.argv[1:]
    claim = Claim(uuid.UUID(job_id), int(fence), int(attempt))
    settings = WorkerSettings()
    database = Database.of(settings)
    with database.read() as session:
        is_real = jobs.read(session, claim.job_id).model.name == REAL
    if is_real:
        from worker.job import attempt  # noqa: PLC0415  (torch)

        attempt.main()
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    try:
        run(database, Artifacts(settings.data_dir), claim, ProgressReport(database, claim))
    except FenceLost:
        logging.warning("job %s changed hands, what was computed here is void", job_id)
    except CancelRequested:
        with database.write() as session:
            claims.stop_withdrawn(session, claim)
    except (SQLAlchemyError, OSError):
        raise
    except Exception as error:
        logging.exception("job %s failed", job_id)
        with database.write() as session:
            claims.report_failure(
                session, claim, reason=Reason(ReasonCode.UNEXPECTED_ERROR, None, {"error": type(error).__name__})
            )
    os._exit(0)


def run(database: Database, artifacts: Artifacts, claim: Claim, report: ProgressReport) -> None:
    """Read what the job works on, take a while, and publish a checkpoint of random bytes."""
    report.enter(Phase.LOAD)
    with database.read() as session:
        job = jobs.read(session, claim.job_id)
        samples = [request.samples for request in jobs.requests_of(session, claim.job_id)]
        base = versions.require_latest_version(session, job.model)
    assert hashlib.sha256(artifacts.path(base.checkpoint).read_bytes()).hexdigest() == base.sha256
    assert all(artifacts.path(key).stat().st_size for key in samples if key)

    total = random.randint(4, 10)
    for step in range(1, total + 1):
        time.sleep(0.15)
        done = SimpleNamespace(
            phase=Phase.UNLEARN, step=step, total=total, forget_accuracy=0.0, view_accuracy=0.0, terms={}
        )
        report.step(done, collapse=None)

    report.enter(Phase.EVALUATE)
    with artifacts.stage() as staged:
        staged.path.write_bytes(os.urandom(_SIZE))
        report.enter(Phase.PUBLISH)
        sha256, size = staged.digest()
        staged.keep(claim.checkpoint)
        with database.write() as session:
            publication.publish(
                session,
                claim,
                model=job.model,
                parent=base,
                parent_metrics={},
                objections=(),
                results={"metrics": {"before": {}, "after": {}}, "seconds": report.seconds()},
                checkpoint=claim.checkpoint,
                sha256=sha256,
                size=size,
                method="structguard",
                config={},
                code_version="",
                metrics={},
            )


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(3)


if __name__ == "__main__":
    main()
