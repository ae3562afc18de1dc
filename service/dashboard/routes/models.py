"""Pages of models: the list, one model with its version tree, and the comparison of two versions."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.dashboard import curves, lineage, listed, measured
from service.dashboard.pages import page
from service.dashboard.visitors import ModelReader
from service.models import comparison
from service.registry.models import models, versions
from service.registry.models.quality_gate import Policy
from service.registry.storage.database import clock
from service.web.dependencies import ReadSession, ResourcesDep

router = APIRouter(prefix="/models")

Cursor = Annotated[str | None, Query(max_length=500)]


@router.get("")
def show_all(request: Request, visitor: ModelReader, session: ReadSession, cursor: Cursor = None) -> Response:
    """All models, newest first."""
    rows, next_cursor = listed.model_rows(session, visitor.caller.tenant_id, cursor=cursor)
    return page(request, "models.html", rows=rows, next=next_cursor, now=clock(session), is_later=cursor is not None)


@router.get("/{name}")
def show(request: Request, name: str, visitor: ModelReader, session: ReadSession, cursor: Cursor = None) -> Response:
    """A model's versions: where each came from, what points to it, and how it was measured."""
    model = models.find_model(session, visitor.caller.tenant_id, name)
    family = listed.family(session, model, cursor=cursor)
    rows = [
        (version.number, family.parents.get(version.parent_id) if version.parent_id else None, version.gate)
        for version in family.versions
    ]
    return page(
        request,
        "model.html",
        model=model,
        policy=Policy.model_validate(model.policy),
        family=family,
        parents={version.number: parent for version, (_, parent, _) in zip(family.versions, rows, strict=True)},
        tree=lineage.tree(rows, family.aliases),
        charts=curves.of_versions({version.number: family.metrics[version.id] for version in family.versions})
        if len(family.versions) > 1
        else [],
        now=clock(session),
        is_later=cursor is not None,
    )


@router.get("/{name}/compare")
def compare(
    request: Request,
    name: str,
    visitor: ModelReader,
    session: ReadSession,
    resources: ResourcesDep,
    first: Annotated[int, Query(ge=1, lt=10**9)],
    second: Annotated[int, Query(ge=1, lt=10**9)],
) -> Response:
    """Two versions: metrics, digests, and how far the parameters moved. Reads both checkpoints."""
    model = models.find_model(session, visitor.caller.tenant_id, name)
    first_version, second_version = (versions.find_version(session, model, number) for number in (first, second))
    answer = comparison.compare(session, model, first_version, second_version, resources.artifacts)
    rows = measured.side_by_side(*comparison.measurements_of(session, first_version, second_version), {})
    return page(
        request, "compare.html", model=model, comparison=answer, rows=rows, first=first_version, second=second_version
    )
