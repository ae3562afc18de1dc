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
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version as package_version

import torch
from sqlalchemy.exc import SQLAlchemyError

from service.registry.crypto.encrypted_files import SealBroken
from service.registry.crypto.master_key import OtherMasterKey
from service.registry.deletion_requests import publication
from service.registry.deletion_requests.publication import GateObjected
from service.registry.errors import FenceLost, RegistryError, StorageFull
from service.registry.images.archive import ImagesMissing, LabelledImage
from service.registry.job_queue import claims
from service.registry.job_queue.claims import CancelRequested, Claim
from service.registry.options import Options
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import Phase
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.storage.disk_full import is_disk_full
from service.registry.telemetry import logs, traces
from worker.anchors.anchors import AnchorsAltered, anchors_for
from worker.evaluation.evaluation import device_of, evaluate, objections, probe_of
from worker.evaluation.reference_outputs import reference_outputs
from worker.inputs.images import as_batch, batches, distinct_images
from worker.inputs.inputs import (
    CheckpointAltered,
    EvaluationSetAltered,
    ImagesDamaged,
    Inputs,
    classifier,
    images_of,
    read_inputs,
)
from worker.job.progress_report import ProgressReport, numbers
from worker.job.provenance import provenance
from worker.networks import architectures
from worker.settings import WorkerSettings
from worker.unlearning import DEFAULT, PAPER, VIEWS, Config, SplitClassifier, batch_margins, unlearn

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the attempt that the command line names."""
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    job_id, fence, attempt = sys.argv[1:]
    settings = WorkerSettings()
    logs.configure(settings.log_format)
    traces.start("worker")
    try:
        with logs.context(job=job_id, attempt=int(attempt)):
            _attempt(settings, Claim(uuid.UUID(job_id), int(fence), int(attempt)))
    finally:
        traces.stop()
    logging.shutdown()
    os._exit(0)  # the job has ended, and taking torch apart would keep the worker from the next one for seconds


def _attempt(settings: WorkerSettings, claim: Claim) -> None:
    database = Database.of(settings)
    report = ProgressReport(database, claim, traces.inherited_parent())
    try:
        with closing(report):
            run(database, Artifacts(settings.data_dir), settings, claim, report)
    except FenceLost:
        logger.warning("job %s changed hands, what was computed here is void", claim.job_id)
    except CancelRequested:
        with database.write() as session:
            claims.stop_withdrawn(session, claim)
    except GateObjected as error:
        with database.write() as session:
            claims.report_failure(session, claim, reason=error.reason)
    except Exception as error:
        if isinstance(error, SQLAlchemyError | OSError) and not is_disk_full(error):
            raise  # the database or the disk was away: a lost attempt, not a failed job
        logger.exception("job %s failed", claim.job_id)
        with database.write() as session:
            claims.report_failure(session, claim, reason=_reason(error, report.phase))


def run(
    database: Database, artifacts: Artifacts, settings: WorkerSettings, claim: Claim, report: ProgressReport
) -> None:
    """Unlearn what the job's requests ask for, and publish the new version."""
    report.enter(Phase.LOAD)
    inputs = read_inputs(database, artifacts, claim)
    device = device_of(settings.device)
    images = _images(database, artifacts, settings, claim, inputs)
    if not images:
        return  # the job has failed with its last request
    distinct, own = distinct_images(images)
    inputs = inputs.without(image for image, _ in distinct)
    forget = as_batch(distinct, inputs.preprocessing).to(device)
    references = reference_outputs(inputs, artifacts, settings, distinct, device)
    del images, distinct  # only their pixels are needed from here on
    model = classifier(inputs.base, inputs.checkpoint, device)
    vectors, anchor_set = anchors_for(
        database, artifacts, settings, inputs.model.tenant_id, inputs.base, inputs.options
    )
    anchors = torch.from_numpy(vectors).to(device)
    probe = probe_of(inputs, model, anchors, device)
    config = _config(inputs.options)

    rng = torch.Generator().manual_seed(inputs.options.seed)
    unseen = _unseen_margins(inputs, model, settings, device) if config.goal == "indistinguishable" else None
    for step in unlearn(model, forget, anchors=anchors, unseen=unseen, config=config, rng=rng):
        collapse = probe.collapse(model) if probe and step.forget_accuracy is not None else None
        report.step(step, collapse)

    report.enter(Phase.EVALUATE)
    with artifacts.stage() as staged:
        origin = {"job": str(claim.job_id), "parent_sha256": inputs.base.sha256}
        architectures.save(model.network, staged.path, {"structguard": json.dumps(origin)})
        # Both versions are measured from their files, because that is what gets served.
        base = classifier(inputs.base, inputs.checkpoint, device)
        unlearned = classifier(inputs.base, staged.path, device)
        evaluation = evaluate(
            inputs,
            settings,
            device,
            base=base,
            unlearned=unlearned,
            forget=forget,
            own=own,
            probe=probe,
            references=references.log_odds,
            on_progress=report.evaluation_progress,
        )
        objected = objections(inputs, evaluation, unlearned)

        report.enter(Phase.PUBLISH)
        sha256, size = staged.digest()
        staged.keep(claim.checkpoint)
        with database.write() as session:
            publication.publish(
                session,
                claim,
                model=inputs.model,
                parent=inputs.base,
                parent_metrics=numbers(evaluation.before.of_version()),
                objections=objected,
                results={
                    "metrics": {
                        "before": numbers(asdict(evaluation.before)),
                        "after": numbers(asdict(evaluation.after)),
                    },
                    "provenance": provenance(inputs, anchor_set, references.models, settings, device, objected),
                    "seconds": report.seconds(),
                    "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
                },
                own_metrics=evaluation.by_request,
                checkpoint=claim.checkpoint,
                sha256=sha256,
                size=size,
                method="structguard",
                config=asdict(config) | {"profile": inputs.options.profile, "seed": inputs.options.seed},
                code_version=package_version("structguard"),
                metrics=numbers(evaluation.after.of_version()),
            )


def _images(
    database: Database, artifacts: Artifacts, settings: WorkerSettings, claim: Claim, inputs: Inputs
) -> dict[uuid.UUID, list[LabelledImage]]:
    """The images to forget of each request. One whose images cannot be had fails, and the others go on."""
    images = {}
    for request in inputs.requests:
        try:
            images[request.id] = images_of(request, artifacts, settings)
        except (ImagesMissing, ImagesDamaged, OtherMasterKey, SealBroken) as error:
            logger.exception("request %s failed", request.id)
            with database.write() as session:
                claims.fail_request(session, claim, request.id, reason=_reason(error, Phase.LOAD))
    return images


def _config(options: Options) -> Config:
    if options.profile == "paper":
        return PAPER
    return replace(VIEWS if options.resolved_scope() == "views" else DEFAULT, goal=options.goal)


def _unseen_margins(
    inputs: Inputs, model: SplitClassifier, settings: WorkerSettings, device: torch.device
) -> torch.Tensor | None:
    """Margins (n,) in logits of the test images; unlearning sees nothing else of them. None without a test set."""
    if inputs.test is None:
        return None
    size, indices = settings.evaluation_batch, inputs.test.indices
    test_batches = batches(inputs.test.file, inputs.preprocessing, size=size, device=device, indices=indices)
    return torch.cat([batch_margins(model, batch) for batch in test_batches])


def _reason(error: Exception, phase: Phase) -> Reason:
    """The reason of a failure for an operator, without anything that a caller sent."""
    if isinstance(error, torch.OutOfMemoryError):
        return Reason(ReasonCode.OUT_OF_MEMORY, phase)
    if is_disk_full(error):
        return Reason(ReasonCode.DISK_FULL, phase)
    if isinstance(error, RegistryError):
        code = _CODES.get(type(error))
        return Reason(code, phase) if code else Reason(ReasonCode.INPUT_UNUSABLE, phase, {"detail": error.detail})
    return Reason(ReasonCode.UNEXPECTED_ERROR, phase, {"error": type(error).__name__})


#: What these errors say stands in the code's sentence.
_CODES: dict[type[Exception], ReasonCode] = {
    StorageFull: ReasonCode.STORAGE_FULL,
    ImagesMissing: ReasonCode.IMAGES_MISSING,
    ImagesDamaged: ReasonCode.IMAGES_UNREADABLE,
    OtherMasterKey: ReasonCode.MASTER_KEY_CHANGED,
    SealBroken: ReasonCode.ENCRYPTED_FILE_ALTERED,
    CheckpointAltered: ReasonCode.CHECKPOINT_ALTERED,
    EvaluationSetAltered: ReasonCode.EVALUATION_SET_ALTERED,
    AnchorsAltered: ReasonCode.ANCHORS_ALTERED,
}


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):  # nothing is ever sent; it ends when the other end closes, also by SIGKILL
        pass
    os._exit(3)
