"""Changing the master key, which wraps all other keys and secrets."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli import stack
from service.cli.commands.keys import registry
from service.cli.exits import CommandError
from service.cli.output import Output
from service.cli.parameters import AsJson, DataFolder


def rewrap(
    old: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="File with the master key until now.")],
    *,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Wrap all that the old master key opens by the one of the settings, while no process of the service runs."""
    from service.registry.crypto.master_key import MasterKey, MasterKeyUnusable  # noqa: PLC0415
    from service.registry.operations.reencryption import rewrap as wrap_again  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        settings = stack.existing(data)
        try:
            before, after = MasterKey(settings.model_copy(update={"master_key_file": old})), MasterKey(settings)
        except MasterKeyUnusable as error:
            raise CommandError("A master key cannot be used.", error.detail) from error
        with registry(data) as session:
            count = wrap_again(session, before, after)
        output.result({"rewrapped": count}, f"{count} keys and secrets are wrapped by the new master key.")
