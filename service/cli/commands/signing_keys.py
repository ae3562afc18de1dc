"""The keys that sign certificates: listing, rotating and exporting them, where the service's data is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.cli import stack
from service.cli.exits import EPILOG, CommandError
from service.cli.output import Output
from service.cli.parameters import AsJson, DataFolder
from service.registry.settings import RegistrySettings

app = typer.Typer(help="Look after the keys that certificates are signed with.", no_args_is_help=True)


@app.command("list", epilog=EPILOG)
def list_(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show all keys that ever signed, the current one first."""
    from service.registry.crypto import signing_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with _settings(data) as settings:
            current, *former = signing_keys.public_keys(settings)
        items = [{"id": key.key_id, "is_current": key == current, "pem": key.pem} for key in (current, *former)]
        output.result(
            {"items": items}, f"{current.key_id}  signs now", *(f"{key.key_id}  signed before" for key in former)
        )


@app.command(epilog=EPILOG)
def rotate(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Sign with a new key from now on. What the old one has signed stays valid, and its public half is kept."""
    from service.registry.crypto import signing_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with _settings(data) as settings:
            key = signing_keys.rotate(settings)
        output.result({"id": key.key_id, "pem": key.pem}, f"{key.key_id} signs from now on.")


@app.command(epilog=EPILOG)
def export(
    key_id: Annotated[str | None, typer.Argument(help="Identifier of the key. [default: the current one]")] = None,
    *,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="The PEM file to write.")] = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write a public key as PEM: what whoever checks certificates has to get from you, by a way that they trust."""
    from service.registry.crypto import signing_keys  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        with _settings(data) as settings:
            public_keys = signing_keys.public_keys(settings)
        key = public_keys[0] if key_id is None else next((key for key in public_keys if key.key_id == key_id), None)
        if key is None:
            raise CommandError("No key of this identifier has ever signed anything here.")
        if target is not None:
            target.write_text(key.pem)
        output.result({"id": key.key_id, "pem": key.pem}, key.pem.strip() if target is None else f"Wrote {target}.")


@contextmanager
def _settings(data: Path | None) -> Iterator[RegistrySettings]:
    from service.registry.crypto import signing_keys  # noqa: PLC0415

    settings = stack.settings(data)
    try:
        yield settings
    except signing_keys.SigningKeyMissing as error:
        raise CommandError(
            f"No signing key has been made in {settings.data_dir.resolve()}.", stack.NAME_THE_FOLDER
        ) from error
    except signing_keys.SigningKeyUnusable as error:
        raise CommandError(error.detail) from error
