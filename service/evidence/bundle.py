"""The evidence bundle of a request, as one zip. Nothing in it names a person."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from service.deletion_requests.job_schemas import JobAnswer
from service.deletion_requests.schemas import Move, RequestDetails
from service.evidence.certificates import ZIP, certificate_of, render
from service.evidence.renderings.curves import curves
from service.registry.access.scopes import Caller
from service.registry.audit import inclusion_proof
from service.registry.crypto import dsse, signing_keys
from service.registry.crypto.signing_keys import PublicKey
from service.registry.deletion_requests import lifecycle
from service.registry.errors import CertificateMissing
from service.registry.evidence import certificates
from service.registry.evidence.bundle_manifest import with_manifest
from service.registry.evidence.reproducible_zip import zipped
from service.registry.job_queue import jobs
from service.registry.states import State
from service.registry.tables import Certificate, DeletionRequest
from service.registry.training_data import affected_versions
from service.web.dependencies import Resources
from service.web.negotiation import HTML, JSON, PDF

_README = (Path(__file__).parent / "renderings" / "bundle_readme.txt").read_text()

Files = Iterator[tuple[str, bytes]]


def answer(resources: Resources, caller: Caller, request_id: uuid.UUID) -> Response:
    """Answer with the zip, sent while it is written: the same bytes as long as nothing has changed.

    Raises:
        DeletionRequestNotFound: the tenant has no such request.
    """
    certificate = None
    with suppress(CertificateMissing):
        certificate = certificate_of(resources, caller, request_id)
    keys = signing_keys.public_keys(
        resources.settings
    )  # before the answer begins, while an error can still be answered
    signer = signing_keys.signer(resources.settings)
    with resources.database.write() as session:
        request = lifecycle.find(session, caller.tenant_id, request_id)
        inclusion_proof.sign_events(session, request, signer)
    content = zipped(with_manifest(_files(resources, caller, request_id, certificate, keys), request_id, signer))
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{request_id}.zip"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, headers=headers, media_type=ZIP)


def _files(
    resources: Resources,
    caller: Caller,
    request_id: uuid.UUID,
    certificate: Certificate | None,
    keys: Sequence[PublicKey],
) -> Files:
    yield "README.txt", _README.format(request_id=request_id).encode()
    with resources.database.read() as session:
        request = lifecycle.find(session, caller.tenant_id, request_id)
        yield from _request_files(session, request)
        yield (
            "audit.json",
            _json(inclusion_proof.proof(session, request, also_at_height=_certified_height(certificate))),
        )
        yield "disposition.json", _json(certificates.dispositions(session, request, resources.settings))
    if certificate is not None:
        for suffix, media_type in (("json", JSON), ("html", HTML), ("pdf", PDF)):
            yield f"certificate.{suffix}", render(certificate, media_type)[0]
    for key in keys:
        yield f"signing-keys/{key.key_id}.pem", key.pem.encode()


def _certified_height(certificate: Certificate | None) -> int | None:
    """The height of the head that the certificate names."""
    return None if certificate is None else dsse.read(certificate.body)["predicate"]["audit"]["chain_height"]


def _request_files(session: Session, request: DeletionRequest) -> Files:
    job = jobs.find(session, request.tenant_id, request.job_id)
    moves = lifecycle.transitions(session, request.id)
    details = RequestDetails.with_history(request, moves, affected_versions.of_request(session, request))
    yield "request.json", _json(details.model_dump(mode="json"))
    decisions = [Move.model_validate(move) for move in moves if move.before is State.AWAITING_APPROVAL]
    approvals = {
        "required": any(move.after is State.AWAITING_APPROVAL for move in moves),
        "asked_by": request.submitted_by,
        "decisions": [move.model_dump(mode="json") for move in decisions],
    }
    yield "approvals.json", _json(approvals)
    job_answer = JobAnswer.of(job).model_dump(mode="json")
    yield "job.json", _json(job_answer | {"provenance": job.provenance})
    points = [(point.step, point.values) for point in jobs.curve(session, job)]
    yield "curves.json", _json([{"step": step, **values} for step, values in points])
    yield "curves.svg", curves(points).encode()


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
