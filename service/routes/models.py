"""Models."""

from fastapi import APIRouter, Response

from service.answers import Listing, ModelAnswer
from service.dependencies import Cursor, Limit, ModelName, ModelReader, ReadSession, Registrar, WriteSession
from service.idempotency import CreationDep
from service.problems import documented
from service.registry import models
from service.schemas import NewModel

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.post(
    "",
    summary="Register a model",
    status_code=201,
    response_model=ModelAnswer,
    responses=documented(400, 409, 413, 422),
)
def register_model(new: NewModel, caller: Registrar, creation: CreationDep, session: WriteSession) -> Response:
    """Give a classifier a name. Its versions are uploaded next."""
    model = models.register_model(
        session,
        caller.tenant_id,
        name=new.name,
        description=new.description,
        policy=new.policy,
        approval_required=new.approval_required,
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
