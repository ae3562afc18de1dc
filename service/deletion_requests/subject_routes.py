"""Routes about subjects of training manifests: the versions they affect, and the suppression list."""

from fastapi import APIRouter

from service.deletion_requests.schemas import ReachedVersion, Subject, SuppressionAnswer
from service.registry.training_data import affected_versions, suppression_list
from service.web.dependencies import Cursor, Limit, ReadSession, RequestReader
from service.web.fields import Everything, Listing
from service.web.problems import documented

router = APIRouter(prefix="/v1", tags=["Subjects"])


# A POST although it only reads: proxies log paths and queries.
@router.post("/subjects/reach", summary="Ask what has learned from a subject", responses=documented(400, 413, 422))
def read_subject_reach(subject: Subject, caller: RequestReader, session: ReadSession) -> Everything[ReachedVersion]:
    """Every version of every model whose lineage has a record of the subject, and whether it still knows it.

    Changes nothing.
    """
    pseudonym = caller.pseudonyms.subject(subject.subject_id)
    affected = affected_versions.of_subject(session, caller.tenant_id, pseudonym)
    return Everything(items=[ReachedVersion.of(version) for version in affected])


@router.get("/suppressions", summary="List suppressed subjects and records", responses=documented(422))
def list_suppressions(
    caller: RequestReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[SuppressionAnswer]:
    """Whom and what accepted requests have named, newest first. A manifest that holds them again says how many."""
    page = suppression_list.list_suppressions(session, caller.tenant_id, cursor=cursor, limit=limit)
    return Listing.of(page, SuppressionAnswer.of)
