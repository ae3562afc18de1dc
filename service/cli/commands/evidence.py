"""Evidence: checking certificates and bundles without a server, and fetching the evidence of a request."""

import hashlib
import json
import os
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from service.cli import stack
from service.cli.client import Client
from service.cli.exits import CommandError, Exit, Unreachable
from service.cli.output import Output
from service.cli.parameters import (
    DEFAULT_SERVER,
    AsJson,
    DataFolder,
    RequestId,
    Server,
    existing_file,
    public_keys,
)
from service.cli.processes import run

if TYPE_CHECKING:
    from service.registry.evidence.certificate_verification import File, Verdict

CertificateFile = Annotated[
    Path, typer.Argument(metavar="CERTIFICATE", exists=True, dir_okay=False, readable=True, help="The JSON file.")
]


def verify(
    certificate: CertificateFile,
    model: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, readable=True, help="The new version's checkpoint.")
    ] = None,
    *,
    key: Annotated[Path, existing_file("PEM file with the public key that you trust.")],
    request: Annotated[uuid.UUID | None, typer.Option(help="The request that it should be of.")] = None,
    parent: Annotated[Path | None, existing_file("The checkpoint of the version before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate, and whether a checkpoint is the one that it is about. Needs no network and no server."""
    from service.registry.evidence import certificate_verification  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        (trusted,) = public_keys([key]).values()
        verdict = certificate_verification.verify(
            certificate.read_bytes(),
            trusted,
            model=None if model is None else _checkpoint(model),
            parent_sha256=None if parent is None else _sha256(parent),
            request_id=request,
        )
        lines = [*_finding_lines(verdict), "", *_certificate_limits(verdict)]
        if verdict.holds and (model is None or request is None):
            lines += [
                "",
                "Name the checkpoint and --request as well, to know that it is about this file and this request.",
            ]
        output.result(_document(verdict), *lines)
    if not verdict.holds:
        raise typer.Exit(Exit.NOT_VERIFIED)


def verify_bundle(
    bundle: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `structguard evidence` wrote.")],
    model: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, readable=True, help="The new version's checkpoint.")
    ] = None,
    *,
    key: Annotated[list[Path], existing_file("Public key that may have signed it, as PEM; may be repeated.")],
    request: Annotated[uuid.UUID | None, typer.Option(help="The request that it should be of.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle of evidence: all its files, its certificate, its piece of the audit log, and that they agree.

    Needs no network and no server. The keys in the bundle are not looked at: a key that comes with what it has signed
    shows nothing.
    """
    from service.registry.evidence import bundle_verification  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        checkpoint = None if model is None else _checkpoint(model)
        verdict = bundle_verification.verify(
            bundle.read_bytes(), public_keys(key), model=checkpoint, request_id=request
        )
        output.result(_document(verdict), *_finding_lines(verdict), "", *_bundle_limits(verdict))
    if not verdict.holds:
        raise typer.Exit(Exit.NOT_VERIFIED)


def evidence(
    request_id: RequestId,
    *,
    target: Annotated[Path, typer.Option("-o", "--output", help="The zip file to write.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Fetch everything that there is to show about a request, as one file."""
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        part = target.with_name(f"{target.name}.part")
        try:
            with client.stream(f"/v1/deletion-requests/{request_id}/evidence") as response, part.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
        except httpx.TransportError as error:
            part.unlink(missing_ok=True)
            raise Unreachable("The connection broke while the evidence was sent.", str(error)) from error
        part.replace(target)
        output.result(
            {"file": str(target), "sha256": _sha256(target)}, f"Wrote {target}. README.txt in it says what is what."
        )


def report(
    regulation: Annotated[str, typer.Argument(help="ccpa, gdpr, or another name that requests came under.")] = "ccpa",
    *,
    year: Annotated[int | None, typer.Option(min=2000, max=9999, help="Of receipt. [default: the last one]")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the yearly figures of deletion requests, as 11 CCR § 7102 asks for them."""
    output = Output(as_json=as_json)
    with output.reporting(), Client(server) as client:
        figures = client.get(f"/v1/reports/{regulation}", year=year or datetime.now(UTC).year - 1)
        lines = (
            f"{name.replace('_', ' ')}: {'none to tell of' if value is None else value}"
            for name, value in figures.items()
        )
        output.result(figures, *lines)


def recompute(
    certificate: CertificateFile,
    *,
    tolerance: Annotated[float, typer.Option(min=0, help="Relative difference that is taken for the same.")] = 1e-4,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compute every number of a certificate again from what is stored. Runs where the data and the worker are."""
    output = Output(as_json=as_json)
    with output.reporting():
        folder = stack.existing(data).data_dir.resolve()
        if not folder.is_dir():  # of a database elsewhere
            raise CommandError(f"There is no folder {folder}.", stack.NAME_THE_FOLDER)
        failure = "The certificate cannot be recomputed."
        environment = {**os.environ, "STRUCTGUARD_DATA_DIR": str(folder)}
        answer = run("worker.recompute", str(certificate), str(tolerance), failure=failure, environment=environment)
        comparison = json.loads(answer.splitlines()[-1])
        output.result(comparison, *_comparison_lines(comparison["numbers"]))
    if not comparison["holds"]:
        raise typer.Exit(Exit.NOT_VERIFIED)


def _comparison_lines(numbers: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{number['place']}: {number['certified']}, again {number['again']}: {number['verdict']}"
        for number in numbers
        if number["verdict"] != "same"
    ]
    same = sum(number["verdict"] == "same" for number in numbers)
    return [*lines, f"{same} of {len(numbers)} values are the same again."]


def _checkpoint(path: Path) -> "File":
    from service.registry.evidence.certificate_verification import File  # noqa: PLC0415

    return File(_sha256(path), _origin(path))


def _origin(path: Path) -> dict[str, Any] | None:
    """The provenance that the service wrote into a checkpoint's safetensors header; None if there is none."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), 100_000_000)))
        origin: dict[str, Any] = json.loads(header["__metadata__"]["structguard"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return origin if isinstance(origin, dict) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _document(verdict: "Verdict") -> dict[str, Any]:
    return {
        "verified": verdict.holds,
        "findings": [asdict(finding) for finding in verdict.findings],
        "statement": verdict.statement,
    }


def _finding_lines(verdict: "Verdict") -> list[str]:
    return [f"{'yes' if finding.holds else 'NO '}  {finding.says}" for finding in verdict.findings]


def _certificate_limits(verdict: "Verdict") -> list[str]:
    if not verdict.holds or verdict.statement is None:
        return ["This certificate is not verified. Do not rely on it."]
    predicate = verdict.statement["predicate"]
    [subject] = verdict.statement["subject"]
    request_id, received, completed = predicate["request_ids"][0], predicate["received"], predicate["completed"]
    return [
        "What this proves:",
        f"  Whoever holds the key has stated, about {subject['name']} with SHA-256 {subject['digest']['sha256']},",
        f"  that it came of request {request_id}, received {received}, ended {completed},",
        f"  and what was measured. The quality gate's result is {predicate['gate']['result']}.",
        "",
        "What it does not prove:",
        "  That the measurements are right, or the key is whose you think: who gave you the key has to be trusted.",
        *(f"  {limit}" for limit in predicate["statement_of_limits"]),
    ]


def _bundle_limits(verdict: "Verdict") -> list[str]:
    if not verdict.holds:
        return ["This bundle is not verified. Do not rely on it."]
    certificate = ["", "The certificate in it:", "", *_certificate_limits(verdict)] if verdict.statement else []
    return [
        "What this proves:",
        "  Whoever holds the key has written these files, all of one request, and nobody has changed them since.",
        "  What the audit log says of the request stood in it when its heads were signed, in this order.",
        "",
        "What it does not prove:",
        "  That what was written down is true or all that happened, or the key is whose you think.",
        "  When it was: a log that the holder of the key has written anew only a head that was kept elsewhere tells.",
        *certificate,
    ]
