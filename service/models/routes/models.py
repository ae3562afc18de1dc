"""Routes of models."""

from fastapi import APIRouter, Response

from service.models.schemas import ModelAnswer, ModelChange, NewModel
from service.registry.errors import Fault, InvalidInput
from service.registry.models import models
from service.web.dependencies import (
    Cursor,
    Limit,
    ModelName,
    ModelReader,
    ReadSession,
    Registrar,
    Resources,
    ResourcesDep,
    WriteSession,
)
from service.web.fields import Listing
from service.web.idempotency import CreationDep
from service.web.problems import documented

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.post(
    "",
    summary="Register a model",
    status_code=201,
    response_model=ModelAnswer,
    responses=documented(400, 409, 413, 422),
)
def register_model(
    new: NewModel, caller: Registrar, creation: CreationDep, resources: ResourcesDep, session: WriteSession
) -> Response:
    """Give a classifier a name. Its versions are uploaded next."""
    _check_pool(new.pool, resources)
    model = models.register_model(
        session,
        caller.tenant_id,
        name=new.name,
        description=new.description,
        policy=new.policy,
        approval_required=new.approval_required,
        pool=new.pool,
    )
    answer = ModelAnswer.of(model)
    return creation.answer(session, answer, 201, location=answer.links["self"])


@router.get("", summary="List models", responses=documented(422))
def list_models(
    caller: ModelReader, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[ModelAnswer]:
    """All models of the tenant, newest first, a page at a time."""
    return Listing.of(models.list_models(session, caller.tenant_id, cursor=cursor, limit=limit), ModelAnswer.of)


@router.get("/{name}", summary="Read a model", responses=documented(404))
def read_model(name: ModelName, caller: ModelReader, session: ReadSession) -> ModelAnswer:
    """One model: the limits of its quality gate, and whether deletion requests for it need approval."""
    return ModelAnswer.of(models.find_model(session, caller.tenant_id, name))


@router.patch("/{name}", summary="Change a model", responses=documented(400, 404, 413, 422))
def change_model(
    name: ModelName, change: ModelChange, caller: Registrar, resources: ResourcesDep, session: WriteSession
) -> ModelAnswer:
    """Give its jobs to the workers of another pool, those too that wait already; one that runs goes on where it is."""
    model = models.find_model(session, caller.tenant_id, name)
    if change.pool is not None:
        _check_pool(change.pool, resources)
        models.move_model(session, model, change.pool)
    return ModelAnswer.of(model)


def _check_pool(pool: str, resources: Resources) -> None:
    pools = sorted(resources.settings.pools)
    if pool not in pools:  # its jobs would wait for ever
        raise InvalidInput(Fault("#/pool", f"must be a pool of workers that there is: {', '.join(pools)}"))
