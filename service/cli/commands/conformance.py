"""Checking whether a server, this service or another, is an OpenDSR processor."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from service.cli.exits import Exit
from service.cli.output import Output
from service.cli.parameters import AsJson, existing_file, server_url

AUTHORIZATION = "OPENDSR_AUTHORIZATION"
"""The environment variable with the header's value: an option would show it to everybody who lists processes."""


def opendsr_check(
    url: Annotated[str, typer.Argument(parser=server_url, metavar="URL", help="Where the processor's paths begin.")],
    *,
    prefix: Annotated[str, typer.Option(help="What its paths begin with; empty for none.")] = "/v2",
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help=f"Sent along. {AUTHORIZATION} sets Authorization.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE:FORMAT:VALUE", help="A person whom the processor knows, and whom it may be asked to erase."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where to wait for callbacks; port 0 is any one."),
    ] = None,
    callback_url: Annotated[
        str | None, typer.Option(metavar="URL", help="How the processor reaches that. [default: http://HOST:PORT]")
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a callback.")] = 30.0,
    authorities: Annotated[Path | None, existing_file("PEM file of authorities to trust. [default: the usual]")] = None,
    allow_self_signed: Annotated[bool, typer.Option(help="Do not ask who has issued the certificate.")] = False,
    strict: Annotated[bool, typer.Option(help="What should be, must be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check whether a server is an OpenDSR 2.0 processor. It is sent requests about people who do not exist."""
    from service.cli.opendsr import report  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        results = report.check_processor(
            url,
            prefix=prefix.rstrip("/"),
            headers=_headers(header or []),
            known_identity=_identity(identity),
            listen=_address(listen) if listen else None,
            callback_url=callback_url,
            patience=patience,
            authorities=authorities,
            allow_self_signed=allow_self_signed,
            strict=strict,
        )
        output.result(report.document(results), report.table(results), report.summary(results))
    if any(result.outcome == "fail" for result in results):
        raise typer.Exit(Exit.NOT_CONFORMING)


def _headers(options: list[str]) -> dict[str, str]:
    headers = {"Authorization": os.environ[AUTHORIZATION]} if os.environ.get(AUTHORIZATION) else {}
    for option in options:
        name, colon, value = option.partition(":")
        if not colon:
            raise typer.BadParameter("must be a name and a value with a colon between", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def _identity(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    parts = text.split(":", 2)
    if len(parts) != 3:
        raise typer.BadParameter("must be like controller_customer_id:raw:4711", param_hint="--identity")
    return dict(zip(("identity_type", "identity_format", "identity_value"), parts, strict=True))


def _address(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[?(.+?)\]?:(\d{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise typer.BadParameter("must be like 0.0.0.0:8080", param_hint="--listen")
    return match[1], int(match[2])
