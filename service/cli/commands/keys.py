"""API keys, made where the database is: whoever may write to it needs no key to make one."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import render, stack
from service.cli.exits import EPILOG, CommandError
from service.cli.output import Output
from service.cli.parameters import AsJson, DataFolder
from service.registry.access.scopes import DEFAULT_TENANT, Scope
from service.registry.errors import RegistryError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(help="Make and revoke the API keys that callers of the service need.", no_args_is_help=True)

Tenant = Annotated[str, typer.Option(help="Whose keys. A tenant sees nothing of another one.")]
_MAX_LISTED = 100  # keys


@app.command(epilog=EPILOG)
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; may be repeated. [default: admin]")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires. [default: never]")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it. It is shown this once, and kept nowhere."""
    from service.registry.access import api_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with registry(data) as session:
            expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
            owner = api_keys.ensure_tenant(session, tenant)
            row, secret = api_keys.create_key(
                session, owner.id, name=name, scopes=scope or [Scope.ADMIN], expires_at=expires_at
            )
        output.result({"id": str(row.id), "tenant": tenant, "scopes": row.scopes, "key": secret}, secret)


@app.command("list", epilog=EPILOG)
def list_(*, tenant: Tenant = DEFAULT_TENANT, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show the newest keys of a tenant, without the secrets."""
    from service.access.schemas import ApiKeyAnswer  # noqa: PLC0415
    from service.registry.access import api_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with registry(data, writing=False) as session:
            owner = api_keys.find_tenant(session, tenant)
            page = api_keys.list_keys(session, owner.id, cursor=None, limit=_MAX_LISTED)
            items = [ApiKeyAnswer.model_validate(row).model_dump(mode="json") for row in page.items]
        output.result({"items": items}, render.keys(items) if items else "There are no keys.")


@app.command(epilog=EPILOG)
def revoke(
    key_id: Annotated[uuid.UUID, typer.Argument(help="Identifier of the key.")],
    *,
    tenant: Tenant = DEFAULT_TENANT,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """End a key at once."""
    from service.registry.access import api_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with registry(data) as session:
            api_keys.revoke_key(session, api_keys.find_tenant(session, tenant).id, key_id)
        output.result({"id": str(key_id), "revoked": True}, f"{key_id} is revoked.")


@contextmanager
def registry(data: Path | None, *, writing: bool = True) -> "Iterator[Session]":
    """A transaction on the database of the settings, with this data folder if one is given."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from service.registry.audit import audit_log  # noqa: PLC0415
    from service.registry.storage.database import Database  # noqa: PLC0415

    settings = stack.existing(data)
    try:
        # The key of the audit log's MACs is made where there is none, so whoever only reads does without.
        database = Database.of(settings) if writing else Database(settings.resolved_database_url())
    except RegistryError as error:
        raise CommandError(error.detail) from error
    try:
        with database.write() if writing else database.read() as session:
            if writing:
                audit_log.set_actor(session, "command line")
            yield session
    except SQLAlchemyError as error:
        advice = "Name the one that the service uses, and run `structguard migrate` on a new one."
        raise CommandError("The database cannot be used.", advice) from error
    except RegistryError as error:
        raise CommandError(error.detail) from error
    finally:
        database.close()
