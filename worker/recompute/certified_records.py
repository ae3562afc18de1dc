"""The rows and files that a certificate was made from, with their digests checked."""

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
from service.registry.evidence.statement import rfc3339
from service.registry.images import archive
from service.registry.job_queue import jobs
from service.registry.options import Options, Reference
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import AnchorSet, DeletionRequest, EvaluationSet, Version
from service.registry.training_data import reference_models
from service.registry.training_data.reference_models import LeftOut
from worker.evaluation.evaluation import device_of
from worker.inputs.inputs import CheckpointAltered, Inputs, MeasuredSet, ReferenceModel, images_of, verified
from worker.job.provenance import anchors_of, environment, evaluation_set_of, reference_of
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
    predicate = statement["predicate"]
    request_id = uuid.UUID(predicate["request_ids"][0])
    row = session.get(DeletionRequest, request_id)
    if row is None or row.record_removed_at is not None or predicate["anchors"] is None:
        raise RecordsMissing
    request = lifecycle.read(session, request_id)
    version = request.job.version
    anchors = session.scalar(
        select(AnchorSet)
        .where(AnchorSet.tenant_id == request.tenant_id, AnchorSet.sha256 == predicate["anchors"]["digest"]["sha256"])
        .limit(1)
    )
    if version is None or version.parent_id is None or anchors is None:
        raise RecordsMissing
    base = session.get_one(Version, version.parent_id)
    if base.deleted_at is not None or version.deleted_at is not None:
        raise CheckpointDestroyed
    sets = [
        _evaluation_set(session, request, evaluation_set["digest"]["sha256"])
        for evaluation_set in predicate["evaluation_sets"]
    ]
    inputs = Inputs(
        options=Options.model_validate(request.job.options),
        model=request.model,
        base=base,
        checkpoint=verified(artifacts.path(base.checkpoint), base.sha256, CheckpointAltered),
        requests=jobs.requests_of(session, request.job_id),
        sets=[MeasuredSet.whole(row, artifacts) for row in sets],
        references=_references(session, request, predicate),
    )
    return Certified(request, inputs, version, anchors)


def certified_facts(statement: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a statement that can be recomputed, without the measurements."""
    predicate = statement["predicate"]
    facts = {
        name: value
        for name, value in predicate.items()
        if name not in ("measurements", "statement_of_limits", "issued")
    }
    gate = {
        name: value for name, value in predicate["gate"].items() if name != "objections"
    }  # which follow from measurements
    reach = {
        version["name"]: version for version in predicate["reach"]["versions"]
    }  # by their names: others may come between them
    return facts | {
        "subject": statement["subject"],
        "gate": gate,
        "reach": predicate["reach"] | {"versions": reach},
    }


def recomputed_facts(
    session: Session, artifacts: Artifacts, certified: Certified, statement: Mapping[str, Any], settings: WorkerSettings
) -> dict[str, Any]:
    """The same fields as `certified_facts`, recomputed from rows and files, not copied from the statement."""
    request, inputs = certified.request, certified.inputs
    facts = certified_facts(certificates.recompose(session, request.id, settings))
    facts["due"] = rfc3339(due_at(request.regulation, request.received_at))
    if request.samples is not None:
        facts["forget_set"]["count"] = len(images_of(request, artifacts, settings))
    facts["gate"] |= {"policy": inputs.model.policy, "policy_sha256": sha256(inputs.model.policy)}
    facts["anchors"] = anchors_of(certified.anchors)
    facts["evaluation_sets"] = [
        evaluation_set_of(each.row, sum(1 for _ in archive.read(each.file))) for each in inputs.sets
    ]
    height = statement["predicate"]["audit"]["chain_height"]
    entries = audit_log.entries(session, request.tenant_id, height, height)
    facts["audit"] = {
        "chain_height": entries[0].height if entries else None,
        "head_sha256": hash_chain.digest(entries[0].previous, entries[0].entry).hex() if entries else None,
    }
    used = {
        reference["name"]: reference
        for reference in (reference_of(reference.version) for reference in inputs.references)
    }
    facts["references"] = [used.get(reference["name"], reference) for reference in facts["references"] or ()]
    facts["environment"]["worker"] = environment(settings, device_of(settings.device))
    return facts


def _compared_references(predicate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The references that were not left out; older certificates have no such field."""
    return [reference for reference in predicate.get("references") or () if reference["left_out"] is None]


def _references(session: Session, request: DeletionRequest, predicate: Mapping[str, Any]) -> list[ReferenceModel]:
    name_parts = (reference["name"].rpartition("/") for reference in _compared_references(predicate))
    references = [Reference(model=model, version=int(number)) for model, _, number in name_parts]
    return [
        ReferenceModel(version, LeftOut.DELETED if version.deleted_at is not None else None)
        for version in reference_models.find(session, request.tenant_id, references)
        if version is not None
    ]


def _evaluation_set(session: Session, request: DeletionRequest, digest: str) -> EvaluationSet:
    rows = select(EvaluationSet).where(EvaluationSet.model_id == request.model_id, EvaluationSet.sha256 == digest)
    evaluation_set = session.scalar(rows.limit(1))
    if evaluation_set is None:
        raise RecordsMissing
    return evaluation_set
