"""Routes that make, list and revoke API keys, for callers with the scope `admin`."""

import uuid

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from service.access.schemas import ApiKeyAnswer, NewApiKey, NewKeyAnswer
from service.registry.access import api_keys
from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.storage.database import Database
from service.registry.tables import ApiKey
from service.web.dependencies import Admin, Cursor, Identifier, Limit, ReadSession, ResourcesDep, WriteSession
from service.web.fields import Listing
from service.web.problems import documented

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])


@router.post("", summary="Make an API key", status_code=201, responses=documented(400, 413, 422))
def create_api_key(new: NewApiKey, caller: Admin, session: WriteSession, response: Response) -> NewKeyAnswer:
    """The key is in this answer and never again, which is why no `Idempotency-Key` can bring the answer back."""
    row, secret = api_keys.create_key(
        session, caller.tenant_id, name=new.name, scopes=new.scopes, expires_at=new.expires_at
    )
    response.headers.update({"Location": f"/v1/api-keys/{row.id}", "Cache-Control": "no-store"})
    return NewKeyAnswer.from_row(row, key=secret)


@router.get("", summary="List API keys", responses=documented(422))
def list_api_keys(
    caller: Admin, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[ApiKeyAnswer]:
    """All keys of the tenant, newest first, the revoked ones too."""
    page = api_keys.list_keys(session, caller.tenant_id, cursor=cursor, limit=limit)
    return Listing.of(page, ApiKeyAnswer.model_validate)


@router.get("/{key_id}", summary="Read an API key", responses=documented(404))
def read_api_key(key_id: Identifier, caller: Admin, session: ReadSession) -> ApiKeyAnswer:
    """One key, without its secret."""
    return ApiKeyAnswer.model_validate(api_keys.find_key(session, caller.tenant_id, key_id))


@router.delete("/{key_id}", summary="Revoke an API key", responses=documented(404))
async def revoke_api_key(key_id: Identifier, caller: Admin, resources: ResourcesDep) -> ApiKeyAnswer:
    """End a key at once; other processes of the service hear of it within a second. Doing it again changes nothing."""
    row = await run_in_threadpool(_revoke, resources.database, caller, key_id)
    resources.callers.clear()
    return ApiKeyAnswer.model_validate(row)


def _revoke(database: Database, caller: Caller, key_id: uuid.UUID) -> ApiKey:
    with database.write() as session:
        audit_log.set_actor(session, caller.subject)
        return api_keys.revoke_key(session, caller.tenant_id, key_id)
