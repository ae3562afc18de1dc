"""What stands behind a certificate: rows of the registry, files of the artifact store, digests checked."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry import deletion_requests, jobs, references, samples
from service.registry.artifacts import Artifacts
from service.registry.canonical import sha256
from service.registry.deletion_requests import due_at
from service.registry.errors import RegistryError
from service.registry.options import Options, Reference
from service.registry.pseudonyms import Pseudonyms
from service.registry.references import LeftOut
from service.registry.statement import moment, name
from service.registry.tables import AnchorSet, DeletionRequest, EvaluationSet, Tenant, Version
from worker.inputs import CheckpointAltered, EvaluationSetAltered, Inputs, ReferenceModel, verified


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
    pseudonym_key: bytes


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
    request = deletion_requests.read(session, request_id)
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
    key = session.scalars(select(Tenant.pseudonym_key).where(Tenant.id == request.tenant_id)).one()
    return Certified(request, inputs, version, anchors, key)


def said_of_records(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a statement that are no measurements."""
    said = statement["predicate"]
    values = {
        "subject": statement["subject"][0]["digest"]["sha256"],
        "parent": said["parent"]["digest"]["sha256"],
        "received": said["received"],
        "due": said["due"],
        "completed": said["completed"],
        "forget_set.count": said["forget_set"]["count"],
        "forget_set.commitment": said["forget_set"]["commitment"],
        "run.requests": said["run"]["requests"],
        "method.seed": said["method"]["seed"],
        "method.parameters_sha256": said["method"]["parameters_sha256"],
        "gate.policy_sha256": said["gate"]["policy_sha256"],
        "anchors": said["anchors"]["digest"]["sha256"],
        "anchors.encoder_sha256": said["anchors"]["encoder_sha256"],
    }
    for used in _used(said):
        values[f"references.{used['name']}"] = used["digest"]["sha256"]
    for kept in said["evaluation_sets"]:
        values[f"evaluation_sets.{kept['kind']}"] = kept["digest"]["sha256"]
        values[f"evaluation_sets.{kept['kind']}.count"] = kept["count"]
    return values


def records(found: Certified) -> dict[str, Any]:
    """The same values again, from rows and files."""
    request, inputs = found.request, found.inputs
    commitment = Pseudonyms(found.pseudonym_key).commitment(request.id, request.samples_hmac)
    values = {
        "subject": found.version.sha256,
        "parent": inputs.base.sha256,
        "received": moment(request.received_at),
        "due": moment(due_at(request.regulation, request.received_at)),
        "completed": moment(request.ended_at),
        "forget_set.count": request.sample_count,
        "forget_set.commitment": f"hmac-sha256:{commitment}",
        "run.requests": len(inputs.requests),
        "method.seed": inputs.options.seed,
        "method.parameters_sha256": sha256(found.version.config),
        "gate.policy_sha256": sha256(inputs.model.policy),
        "anchors": found.anchors.sha256,
        "anchors.encoder_sha256": found.anchors.encoder_digest or None,
    }
    for reference in inputs.references:
        version = reference.version
        values[f"references.{name(version.model, version)}"] = version.sha256
    for kind, path in (("test", inputs.test), ("retain", inputs.retain)):
        if path is not None:
            values[f"evaluation_sets.{kind}"] = next(kept.sha256 for kept in inputs.sets if kept.kind == kind)
            values[f"evaluation_sets.{kind}.count"] = sum(1 for _ in samples.read(path))
    return values


def _used(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The references that were compared with; certificates of before there were any do not say."""
    return [one for one in said.get("references") or () if one["left_out"] is None]


def _references(session: Session, request: DeletionRequest, said: Mapping[str, Any]) -> list[ReferenceModel]:
    parts = (used["name"].rpartition("/") for used in _used(said))
    named = [Reference(model=model, version=int(number)) for model, _, number in parts]
    return [
        ReferenceModel(version, LeftOut.DELETED if version.deleted_at is not None else None)
        for version in references.find(session, request.tenant_id, named)
        if version is not None
    ]


def _evaluation_set(session: Session, request: DeletionRequest, digest: str) -> EvaluationSet:
    rows = select(EvaluationSet).where(EvaluationSet.model_id == request.model_id, EvaluationSet.sha256 == digest)
    found = session.scalar(rows.limit(1))
    if found is None:
        raise RecordsMissing
    return found
