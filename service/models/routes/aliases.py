"""Routes of aliases: names that point to a version of a model, and can be moved."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from service.models.schemas import AliasAnswer, Pointer
from service.registry.errors import Fault, InvalidInput, VersionNotFound
from service.registry.fields import NAME
from service.registry.models import aliases, models, versions
from service.web.dependencies import ModelName, ModelReader, ReadSession, Registrar, WriteSession
from service.web.fields import Everything
from service.web.problems import documented

router = APIRouter(prefix="/v1/models/{name}/aliases", tags=["Aliases"])

AliasName = Annotated[str, Path(pattern=NAME, description="The alias's name, such as `production`.")]


@router.get("", summary="List aliases", responses=documented(404))
def list_aliases(name: ModelName, caller: ModelReader, session: ReadSession) -> Everything[AliasAnswer]:
    """All aliases of a model, by name, each with the version that it points to."""
    model = models.find_model(session, caller.tenant_id, name)
    return Everything(items=[AliasAnswer.of(model, row) for row in aliases.list_aliases(session, model)])


@router.get("/{alias}", summary="Read an alias", responses=documented(404))
def read_alias(
    name: ModelName, alias: AliasName, caller: ModelReader, session: ReadSession, response: Response
) -> AliasAnswer:
    """Where an alias points to; the `ETag` is for moving it from there and from nowhere else."""
    model = models.find_model(session, caller.tenant_id, name)
    row = aliases.find(session, model, alias)
    response.headers["ETag"] = _etag(row.version.number)
    return AliasAnswer.of(model, row)


@router.put(
    "/{alias}",
    summary="Point an alias to a version",
    responses={
        201: {"model": AliasAnswer, "description": "It is new."},
        **documented(400, 404, 409, 410, 412, 413, 422),
    },
)
def point_alias(
    name: ModelName,
    alias: AliasName,
    pointer: Pointer,
    caller: Registrar,
    session: WriteSession,
    response: Response,
    if_match: Annotated[str | None, Header(description="Move it only if this is its `ETag`.", max_length=100)] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`: only if there is no such alias yet.", max_length=100)
    ] = None,
) -> AliasAnswer:
    """Make the alias, or move it. A version that did not pass the quality gate takes `override_gate`."""
    model = models.find_model(session, caller.tenant_id, name)
    try:
        version = versions.find_version(session, model, pointer.version)
    except VersionNotFound as error:
        raise InvalidInput(Fault("#/version", error.detail)) from error
    row, is_new = aliases.point(
        session,
        model,
        alias,
        version,
        follows_gate=pointer.follows_gate,
        override_gate=pointer.override_gate,
        expected_number=_expected_version(if_match, if_none_match),
        by=caller.subject,
    )
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = _etag(row.version.number)
    return AliasAnswer.of(model, row)


@router.delete("/{alias}", summary="Remove an alias", status_code=204, responses=documented(404))
def remove_alias(name: ModelName, alias: AliasName, caller: Registrar, session: WriteSession) -> None:
    """Remove the name; the version that it pointed to stays."""
    aliases.remove(session, models.find_model(session, caller.tenant_id, name), alias, by=caller.subject)


def _etag(version: int) -> str:
    return f'"{version}"'


def _expected_version(if_match: str | None, if_none_match: str | None) -> int | None:
    """The version that the alias has to point to now: 0 = no alias yet, -1 = never matches, `None` = any.

    RFC 9110, sections 13.1.1 and 13.1.2.
    """
    if if_none_match == "*":
        return 0
    if if_match is None or if_match == "*":
        return None
    number = if_match.strip('"')
    return int(number) if number.isdecimal() and len(number) < 10 else -1
