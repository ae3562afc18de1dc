"""Models."""

from fastapi import APIRouter, Response

from service.answers import Listing, ModelAnswer
from service.dependencies import Cursor, Limit, ModelName, ReadSession, WriteSession
from service.problems import documented
from service.registry import models
from service.schemas import NewModel

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.post("", summary="Register a model", status_code=201, responses=documented(400, 409, 413, 422))
def register_model(new: NewModel, session: WriteSession, response: Response) -> ModelAnswer:
    """Give a classifier a name. Its versions are uploaded next."""
    model = models.register_model(session, name=new.name, description=new.description, policy=new.policy)
    response.headers["Location"] = f"/v1/models/{model.name}"
    return ModelAnswer.of(model)


@router.get("", summary="List models", responses=documented(422))
def list_models(session: ReadSession, cursor: Cursor = None, limit: Limit = 50) -> Listing[ModelAnswer]:
    """All models, newest first."""
    return Listing.of(models.list_models(session, cursor=cursor, limit=limit), ModelAnswer.of)


@router.get("/{name}", summary="Read a model", responses=documented(404))
def read_model(name: ModelName, session: ReadSession) -> ModelAnswer:
    """One model."""
    return ModelAnswer.of(models.find_model(session, name))
