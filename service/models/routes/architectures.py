"""Route that lists the networks that a checkpoint may be for."""

from fastapi import APIRouter

from service.models.schemas import ArchitectureAnswer
from service.registry.models import architectures
from service.web.dependencies import ModelReader
from service.web.fields import Everything

router = APIRouter(prefix="/v1/architectures", tags=["Architectures"])


@router.get("", summary="List architectures")
def list_architectures(_: ModelReader) -> Everything[ArchitectureAnswer]:
    """Every network on the allow-list, with the images and channels that it takes."""
    allowed = architectures.manifest().items()
    return Everything(items=[ArchitectureAnswer.of(name, shapes) for name, shapes in allowed])
