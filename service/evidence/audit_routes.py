"""Routes by which auditors read, check and export the audit log."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from service.evidence.audit_schemas import AuditAnswer, CheckpointsAnswer, EntriesAnswer, EntryAnswer
from service.registry.audit import audit_log, checkpoints, export, verification
from service.registry.crypto import signing_keys
from service.web.dependencies import Auditor, Limit, ReadSession, ResourcesDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/audit", tags=["Audit log"])

After = Annotated[int, Query(ge=0, le=1 << 53, description="Only what has a greater height.")]


@router.get("", summary="Read the audit log's head")
def read_audit(caller: Auditor, session: ReadSession, resources: ResourcesDep) -> AuditAnswer:
    """The end of the chain, the latest signature of it, the keys to check that with, and the last verification."""
    path = router.prefix
    return AuditAnswer(
        tenant=caller.tenant_id,
        head=audit_log.head(session, caller.tenant_id),
        altered_at=audit_log.altered_at(session, caller.tenant_id),
        checkpoint=checkpoints.latest(session, caller.tenant_id),
        verification=verification.find(session, caller.tenant_id),
        keys=signing_keys.public_keys(resources.settings),
        links={"self": path} | {name: f"{path}/{name}" for name in ("entries", "checkpoints", "export")},
    )


@router.get("/entries", summary="List audit entries", responses=documented(422))
def list_audit_entries(
    caller: Auditor,
    session: ReadSession,
    after: After = 0,
    about: Annotated[
        uuid.UUID | None, Query(description="About one request, version, key, webhook or other thing only.")
    ] = None,
    limit: Limit = 50,
) -> EntriesAnswer:
    """Entries in the order of the chain. Each is committed with what it tells of, and stands here a second later."""
    links = audit_log.entries(session, caller.tenant_id, after + 1, about=about, limit=limit)
    return EntriesAnswer(items=[EntryAnswer.of(link) for link in links], next=_next(links, limit))


@router.get("/checkpoints", summary="List audit checkpoints", responses=documented(422))
def list_audit_checkpoints(
    caller: Auditor, session: ReadSession, after: After = 0, limit: Limit = 50
) -> CheckpointsAnswer:
    """Signed heads. Whoever keeps one elsewhere can tell whether the log was shortened or rewritten since."""
    signed_heads = checkpoints.between(session, caller.tenant_id, after + 1, limit=limit)
    return CheckpointsAnswer(items=signed_heads, next=_next(signed_heads, limit))


@router.get(
    "/export",
    summary="Export the audit log",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "All of it, up to a head that was signed for this answer.",
            "content": {export.MEDIA_TYPE: {"schema": {"type": "string"}}},
        }
    },
)
def export_audit(caller: Auditor, resources: ResourcesDep) -> StreamingResponse:
    """NDJSON that `structguard audit verify` verifies without the service. The last line is a signed head."""
    with resources.database.write() as session:
        while audit_log.chain(session, caller.tenant_id):
            pass
        signed = checkpoints.sign(session, caller.tenant_id, signing_keys.signer(resources.settings))
        end = signed.height
    lines: Iterator[str] = export.lines(resources.database, caller.tenant_id, end)
    return StreamingResponse(
        lines,
        media_type=export.MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="audit-{end}.ndjson"', "Cache-Control": "no-store"},
    )


def _next(items: Sequence[Any], limit: int) -> int | None:
    return items[-1].height if len(items) == limit else None
