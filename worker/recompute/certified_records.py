"""What stands behind a certificate: rows of the registry, files of the artifact store, digests checked."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log, hash_chain
from service.registry.crypto.canonical_json import sha256
from service.registry.deletion_requests import lifecycle
from service.registry.deletion_requests.lifecycle import due_at
from service.registry.errors import RegistryError
from service.registry.evidence import certificates
from service.registry.evidence.statement import moment
from service.registry.images import archive
from service.registry.job_queue import jobs
from service.registry.options import Options, Reference
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import AnchorSet, DeletionRequest, EvaluationSet, Version
from service.registry.training_data import reference_models
from service.registry.training_data.reference_models import LeftOut
from worker.evaluation.evaluation import device_of
from worker.inputs.inputs import CheckpointAltered, EvaluationSetAltered, Inputs, ReferenceModel, images_of, verified
from worker.job.provenance import anchors_of, environment, reference_of, set_of
from worker.settings import WorkerSettings


class RecordsMissing(RegistryError):
    """What the certificate names is no longer stored, or was made by a release that did not record it."""


class CheckpointDestroyed(RegistryError):
    """A version that the certificate names was deleted, and its checkpoint with it: nothing can be measured again."""


@dataclass(frozen=True)
class Certified:
    """The rows behind a certificate."""

    request: DeletionRequest
    inputs: Inputs
    version: Version
    anchors: AnchorSet


def read(session: Session, artifacts: Artifacts, statement: Mapping[str, Any]) -> Certified:
    """The rows that a statement is about.

    Raises:
        RecordsMissing: some are not there.
        CheckpointDestroyed: a version is deleted.
        CheckpointAltered, EvaluationSetAltered: a file is not what its digest says.
    """
    said = statement["predicate"]
    request_id = uuid.UUID(said["request_ids"][0])
    known = session.get(DeletionRequest, request_id)
    if known is None or known.record_removed_at is not None or said["anchors"] is None:
        raise RecordsMissing
    request = lifecycle.read(session, request_id)
    version = request.job.version
    anchors = session.scalar(
        select(AnchorSet)
        .where(AnchorSet.tenant_id == request.tenant_id, AnchorSet.sha256 == said["anchors"]["digest"]["sha256"])
        .limit(1)
    )
    if version is None or version.parent_id is None or anchors is None:
        raise RecordsMissing
    base = session.get_one(Version, version.parent_id)
    if base.deleted_at is not None or version.deleted_at is not None:
        raise CheckpointDestroyed
    sets = [_evaluation_set(session, request, kept["digest"]["sha256"]) for kept in said["evaluation_sets"]]
    paths = {kept.kind: verified(artifacts.path(kept.samples), kept.sha256, EvaluationSetAltered) for kept in sets}
    inputs = Inputs(
        options=Options.model_validate(request.job.options),
        model=request.model,
        base=base,
        checkpoint=verified(artifacts.path(base.checkpoint), base.sha256, CheckpointAltered),
        requests=jobs.requests_of(session, request.job_id),
        sets=sets,
        test=paths.get("test"),
        retain=paths.get("retain"),
        references=_references(session, request, said),
    )
    return Certified(request, inputs, version, anchors)


def told(statement: Mapping[str, Any]) -> dict[str, Any]:
    """What a statement says besides measurements, but for what it only words, and for when it was issued."""
    said = statement["predicate"]
    about = {name: it for name, it in said.items() if name not in ("measurements", "statement_of_limits", "issued")}
    gate = {name: it for name, it in said["gate"].items() if name != "objections"}  # which follow from measurements
    reach = {one["name"]: one for one in said["reach"]["versions"]}  # by their names: others may come between them
    return about | {
        "subject": statement["subject"],
        "gate": gate,
        "reach": said["reach"] | {"versions": reach},
    }


def told_now(
    session: Session, artifacts: Artifacts, found: Certified, statement: Mapping[str, Any], settings: WorkerSettings
) -> dict[str, Any]:
    """The same again, from rows and files. What would be the other end of a copy is computed by another way."""
    request, inputs = found.request, found.inputs
    about = told(certificates.restated(session, request.id, settings))
    about["due"] = moment(due_at(request.regulation, request.received_at))
    if request.samples is not None:
        about["forget_set"]["count"] = len(images_of(request, artifacts, settings))
    about["gate"] |= {"policy": inputs.model.policy, "policy_sha256": sha256(inputs.model.policy)}
    about["anchors"] = anchors_of(found.anchors)
    about["evaluation_sets"] = [
        set_of(kept, sum(1 for _ in archive.read(artifacts.path(kept.samples)))) for kept in inputs.sets
    ]
    height = statement["predicate"]["audit"]["chain_height"]
    logged = audit_log.entries(session, request.tenant_id, height, height)
    about["audit"] = {
        "chain_height": logged[0].height if logged else None,
        "head_sha256": hash_chain.digest(logged[0].previous, logged[0].entry).hex() if logged else None,
    }
    used = {one["name"]: one for one in (reference_of(reference.version) for reference in inputs.references)}
    about["references"] = [used.get(one["name"], one) for one in about["references"] or ()]
    about["environment"]["worker"] = environment(settings, device_of(settings.device))
    return about


def _used(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The references that were compared with; certificates of before there were any do not say."""
    return [one for one in said.get("references") or () if one["left_out"] is None]


def _references(session: Session, request: DeletionRequest, said: Mapping[str, Any]) -> list[ReferenceModel]:
    parts = (used["name"].rpartition("/") for used in _used(said))
    named = [Reference(model=model, version=int(number)) for model, _, number in parts]
    return [
        ReferenceModel(version, LeftOut.DELETED if version.deleted_at is not None else None)
        for version in reference_models.find(session, request.tenant_id, named)
        if version is not None
    ]


def _evaluation_set(session: Session, request: DeletionRequest, digest: str) -> EvaluationSet:
    rows = select(EvaluationSet).where(EvaluationSet.model_id == request.model_id, EvaluationSet.sha256 == digest)
    found = session.scalar(rows.limit(1))
    if found is None:
        raise RecordsMissing
    return found
