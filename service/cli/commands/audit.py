"""The audit log as a file: fetched from a service, and verified without one."""

import re
from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import Client
from service.cli.exits import EPILOG, CommandError, Exit
from service.cli.output import Output
from service.cli.parameters import DEFAULT_SERVER, AsJson, Server, existing_file, public_keys
from service.registry.audit.hash_chain import Broken

app = typer.Typer(help="Export the audit log, and verify an export without the service.", no_args_is_help=True)


class NotVerified(CommandError):
    """The log is incomplete, altered, or lacks a head that --head names."""

    exit = Exit.NOT_VERIFIED


@app.command(epilog=EPILOG)
def export(
    target: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("audit.ndjson"),
    *,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Fetch the whole audit log, up to a head that is signed now. Takes the scope evidence:read."""
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        with client.stream("/v1/audit/export") as response, target.open("wb") as file:
            for part in response.iter_bytes():
                file.write(part)
        output.result({"file": str(target), "bytes": target.stat().st_size}, f"The log is in {target}.")


@app.command(epilog=EPILOG)
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `structguard audit export` wrote.")],
    *,
    key: Annotated[list[Path], existing_file("Public key that may have signed it, as PEM; may be repeated.")],
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="HEIGHT:SHA256", help="A head that the log must hold, such as one of a certificate."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify an export: nothing in it was changed, removed, inserted or cut off since its heads were signed.

    It does not prove that what was written down is true, nor that nothing was left unwritten; and of a log that
    somebody with the private key has written anew only a head that was kept elsewhere (--head) can tell.
    """
    from service.registry.audit import export as audit_export  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        heads = _heads(head or [])
        keys = public_keys(key)
        try:
            with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                report = audit_export.verify(lines, keys, heads)
        except Broken as broken:
            raise NotVerified("The audit log is not whole.", f"At height {broken.height}: {broken}.") from None
        document = {
            "tenant": str(report.tenant_id),
            "entries": report.head.height,
            "head": report.head.sha256.hex(),
            "signed_at": report.signed_at.isoformat(),
            "key_ids": list(report.key_ids),
            "altered": list(report.altered),
        }
        output.result(
            document,
            *(
                f"Entry {height} was changed, or one before it removed, before it was chained."
                for height in report.altered
            ),
            f"Whole: {report.head.height} entries of tenant {report.tenant_id}.",
            f"The head {report.head.sha256.hex()} was signed at {document['signed_at']}.",
            *(f"Signed by {key_id}." for key_id in report.key_ids),
        )
    if report.altered:
        raise typer.Exit(Exit.NOT_VERIFIED)


def _heads(options: list[str]) -> dict[int, bytes]:
    heads = {}
    for option in options:
        match = re.fullmatch(r"(\d{1,15}):([0-9a-f]{64})", option)
        if match is None:
            raise typer.BadParameter("must be a height and a hash, such as 7:5f70bf…", param_hint="--head")
        heads[int(match[1])] = bytes.fromhex(match[2])
    return heads
