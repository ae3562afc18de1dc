"""One attempt at one job, in a process of its own: `python -m worker.job JOB_ID FENCE ATTEMPT`, run by the supervisor.

Exit code 0 means that the job has ended, well or badly, and the table says how. Anything else is a lost attempt.
"""

import json
import logging
import os
import resource
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version as package_version
from pathlib import Path

import torch
from sqlalchemy.exc import SQLAlchemyError

from service.registry import claims, gate
from service.registry.artifacts import Artifacts
from service.registry.claims import CancelRequested, Claim, GateObjected
from service.registry.database import Database
from service.registry.disk_space import ran_out
from service.registry.errors import FenceLost, RegistryError
from service.registry.gate import Measured, Policy
from service.registry.master_key import OtherMasterKey
from service.registry.options import Options
from service.registry.samples import ImagesMissing
from service.registry.sealed_files import SealBroken
from service.registry.states import Phase
from worker import networks
from worker.anchors import anchors_for
from worker.images import batches, forget_set
from worker.inputs import ImagesDamaged, Inputs, classifier, images_of, read_inputs
from worker.measure import PROBE, Metrics, Probe, measure, measure_own
from worker.report import Report, numbers
from worker.seen import Seen, see
from worker.settings import WorkerSettings
from worker.unlearning import DEFAULT, PAPER, VIEWS, Batch, Config, SplitClassifier, all_finite, batch_margins, unlearn

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the attempt that the command line names."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    job_id, fence, attempt = sys.argv[1:]
    claim = Claim(uuid.UUID(job_id), int(fence), int(attempt))
    settings = WorkerSettings()
    database = Database(settings.resolved_database_url())
    report = Report(database, claim)
    try:
        run(database, Artifacts(settings.data_dir), settings, claim, report)
    except FenceLost:
        logger.warning("job %s changed hands, what was computed here is void", job_id)
    except CancelRequested:
        with database.write() as session:
            claims.cancel(session, claim)
    except GateObjected as error:
        with database.write() as session:
            claims.fail(session, claim, reason=str(error))
    except Exception as error:
        if isinstance(error, SQLAlchemyError | OSError) and not ran_out(error):
            raise  # the database or the disk was away: a lost attempt, not a failed job
        logger.exception("job %s failed", job_id)
        with database.write() as session:
            claims.fail(session, claim, reason=_reason(error, report.phase))
    logging.shutdown()
    os._exit(0)  # the job has ended, and taking torch apart would keep the worker from the next one for seconds


def run(database: Database, artifacts: Artifacts, settings: WorkerSettings, claim: Claim, report: Report) -> None:
    """Unlearn what the job's requests ask for, and publish the new version."""
    report.enter(Phase.LOAD)
    inputs = read_inputs(database, artifacts, claim)
    device = _device(settings.device)
    brought = _forget_set(database, artifacts, settings, claim, inputs, device)
    if brought is None:
        return  # the job has failed with its last request
    forget, own = brought
    model = classifier(inputs.base, inputs.checkpoint, device)
    anchors = torch.from_numpy(
        anchors_for(database, artifacts, settings, inputs.model.tenant_id, inputs.base, inputs.options)
    ).to(device)
    probe = _probe(inputs, model, anchors, device)
    config = _config(inputs.options)

    rng = torch.Generator().manual_seed(inputs.options.seed)
    unseen = _unseen_margins(inputs, model, settings, device) if config.goal == "indistinguishable" else None
    for step in unlearn(model, forget, anchors=anchors, unseen=unseen, config=config, rng=rng):
        collapse = probe.collapse(model) if probe and step.forget_accuracy is not None else None
        report.step(step, collapse)

    report.enter(Phase.EVALUATE)
    with artifacts.stage() as staged:
        origin = {"job": str(claim.job_id), "parent_sha256": inputs.base.sha256}
        networks.save(model.network, staged.path, {"structguard": json.dumps(origin)})
        # Both versions are measured from their files, because that is what gets served.
        base = classifier(inputs.base, inputs.checkpoint, device)
        unlearned = classifier(inputs.base, staged.path, device)
        known = _see(inputs, base, forget, settings, device)
        before = measure(base, known, forget=forget, probe=probe)
        now = _see(inputs, unlearned, forget, settings, device)
        after = measure(unlearned, now, forget=forget, probe=probe, parent=known)
        of_each = {
            request_id: {
                "before": measure_own(base, known, forget=forget, own=mine),
                "after": measure_own(unlearned, now, forget=forget, own=mine),
            }
            for request_id, mine in own.items()
            if len(own) > 1
        }

        report.enter(Phase.PUBLISH)
        sha256, size = staged.digest()
        staged.keep(claim.checkpoint)
        with database.write() as session:
            claims.publish(
                session,
                claim,
                model=inputs.model,
                parent=inputs.base,
                parent_metrics=numbers(before.of_version()),
                objections=_objections(inputs, before, after, unlearned),
                results={
                    "metrics": {"before": numbers(asdict(before)), "after": numbers(asdict(after))},
                    "seconds": report.seconds(),
                    "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
                },
                own_metrics=of_each,
                checkpoint=claim.checkpoint,
                sha256=sha256,
                size=size,
                method="structguard",
                config=asdict(config) | {"profile": inputs.options.profile, "seed": inputs.options.seed},
                code_version=package_version("structguard"),
                metrics=numbers(after.of_version()),
            )


def _forget_set(
    database: Database,
    artifacts: Artifacts,
    settings: WorkerSettings,
    claim: Claim,
    inputs: Inputs,
    device: torch.device,
) -> tuple[Batch, dict[uuid.UUID, list[int]]] | None:
    """The images to forget, and whose they are. A request whose images cannot be had fails, and the others go on."""
    images = {}
    for request in inputs.requests:
        try:
            images[request.id] = images_of(request, artifacts, settings)
        except (ImagesMissing, ImagesDamaged, OtherMasterKey, SealBroken) as error:
            logger.exception("request %s failed", request.id)
            with database.write() as session:
                claims.drop(session, claim, request.id, reason=_reason(error, Phase.LOAD))
    return forget_set(images, inputs.preprocessing, device) if images else None


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _probe(inputs: Inputs, model: SplitClassifier, anchors: torch.Tensor, device: torch.device) -> Probe | None:
    path = inputs.retain or inputs.test
    if path is None:
        return None
    return Probe(model, next(batches(path, inputs.preprocessing, size=PROBE, device=device)).images, anchors)


def _config(options: Options) -> Config:
    if options.profile == "paper":
        return PAPER
    return replace(VIEWS if options.resolved_scope() == "views" else DEFAULT, goal=options.goal)


def _see(inputs: Inputs, model: SplitClassifier, forget: Batch, settings: WorkerSettings, device: torch.device) -> Seen:
    def read(path: Path | None) -> Iterator[Batch] | None:
        if path is None:
            return None
        return batches(path, inputs.preprocessing, size=settings.evaluation_batch, device=device)

    return see(model, forget=forget, test=read(inputs.test), retain=read(inputs.retain))


def _unseen_margins(
    inputs: Inputs, model: SplitClassifier, settings: WorkerSettings, device: torch.device
) -> torch.Tensor | None:
    """How sure the model is of each test image, (n,): all that unlearning learns about them."""
    if inputs.test is None:
        return None
    shown = batches(inputs.test, inputs.preprocessing, size=settings.evaluation_batch, device=device)
    return torch.cat([batch_margins(model, batch) for batch in shown])


def _objections(inputs: Inputs, before: Metrics, after: Metrics, unlearned: SplitClassifier) -> list[str]:
    return gate.objections(
        Policy.model_validate(inputs.model.policy),
        inputs.options,
        Measured(
            forget_accuracy=after.forget_accuracy,
            robust_forget_accuracy=after.robust_forget_accuracy,
            membership_advantage=after.membership_advantage(),
            test_accuracy_before=before.test_accuracy,
            test_accuracy_after=after.test_accuracy,
            collapse=after.collapse,
            finite=all_finite(unlearned),
        ),
    )


def _reason(error: Exception, phase: Phase) -> str:
    """What an operator needs to know, without anything that a caller sent."""
    if isinstance(error, torch.OutOfMemoryError):
        return f"{phase}: out of memory on the device; use a larger one, then retry"
    if ran_out(error):
        return f"{phase}: a disk has no room left; make some, then retry"
    if isinstance(error, RegistryError):
        return f"{phase}: {error.detail}"
    return f"{phase}: {type(error).__name__}; the worker's log has the details"


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):  # nothing is ever sent; it ends when the other end closes, also by SIGKILL
        pass
    os._exit(3)


if __name__ == "__main__":
    main()
