"""What a bundle of evidence shows to somebody who has it and public keys, and asks nobody."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from service.registry.audit import inclusion_proof
from service.registry.audit.hash_chain import Broken
from service.registry.audit.inclusion_proof import Shown
from service.registry.crypto import dsse
from service.registry.crypto.canonical_json import leaves
from service.registry.crypto.dsse import NotAnEnvelope, OtherKey
from service.registry.crypto.signing_keys import PublicKey, SignatureInvalid
from service.registry.evidence import bundle_manifest, certificate_verification
from service.registry.evidence.bundle_manifest import SIGNED, OtherFiles
from service.registry.evidence.certificate_verification import CheckResult, File, Verdict
from service.registry.evidence.reproducible_zip import NotZippedHere, unzipped

Keys = Mapping[str, PublicKey]


def verify(content: bytes, keys: Keys, *, model: File | None = None, request_id: uuid.UUID | None = None) -> Verdict:
    """Look at a bundle: its bytes, its files, its certificate, its piece of the audit log, and that they agree.

    `keys` are those that may have signed it, by their names; those in the bundle itself show nothing.
    """
    try:
        files = unzipped(content)
    except NotZippedHere:
        says = "This is not a bundle as the service writes it, byte for byte."
        return Verdict([CheckResult("archive", False, says)], None)
    findings = [CheckResult("archive", True, "The bundle is written as the service writes it, byte for byte.")]
    try:
        key = _key(files.get(SIGNED, b""), keys)
        signed_for = bundle_manifest.check(files, key)
    except (NotAnEnvelope, OtherKey, SignatureInvalid) as error:
        return Verdict([*findings, CheckResult("files", False, f"The manifest: {error.detail}")], None)
    except OtherFiles as error:
        return Verdict([*findings, CheckResult("files", False, str(error))], None)
    says = (
        f"Key {key.key_id} has signed the manifest: all {len(files) - 2} files are as they were, and no other is there."
    )
    findings.append(CheckResult("files", True, says))
    certificate = files.get("certificate.json")
    certified = None
    if certificate is not None:
        found = _certificate(certificate, keys, model)
        findings += found.findings
        certified = found.statement
    try:
        findings += _agreement(files, keys, signed_for, request_id, certified)
    except Broken as broken:
        says = f"The piece of the audit log is not whole: at height {broken.height}, {broken}."
        findings.append(CheckResult("audit", False, says))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        findings.append(CheckResult("documents", False, "Its documents are not written as those of a bundle are."))
    return Verdict(findings, certified)


def _key(content: bytes, keys: Keys) -> PublicKey:
    """The key that says to have signed this."""
    try:
        return keys[dsse.key_id(content)]
    except KeyError:
        raise OtherKey from None


def _certificate(certificate: bytes, keys: Keys, model: File | None) -> Verdict:
    try:
        key = _key(certificate, keys)
    except (NotAnEnvelope, OtherKey) as error:
        return Verdict([CheckResult("signature", False, f"The certificate: {error.detail}")], None)
    return certificate_verification.verify(certificate, key, model=model)


def _agreement(
    files: Mapping[str, bytes],
    keys: Keys,
    signed_for: str,
    asked_for: uuid.UUID | None,
    certified: Mapping[str, Any] | None,
) -> Iterator[CheckResult]:
    """Do files, certificate and audit log tell of one request, and the same of it?"""
    request, proof = (json.loads(files[name]) for name in ("request.json", "audit.json"))
    said = certified and certified["predicate"]
    named = {signed_for, request["id"], proof["request"], *(said["request_ids"] if said else ())}
    holds = named == {str(asked_for or signed_for)}
    says = f"Everything in it is of request {signed_for}."
    others = f"It is of more than one request, or of another: {', '.join(sorted(named))}."
    yield CheckResult("request", holds, says if holds else others)

    shown = inclusion_proof.verify(proof, keys)
    events = [json.loads(entry) for entry in shown.entries]
    says = f"{len(events)} entries about the request stand in the audit log, up to heads that were signed"
    yield CheckResult("audit", bool(events), f"{says}, the last one at {shown.signed_at}.")
    yield _history(request, events, is_over=certified is not None)
    yield from _issued(files.get("certificate.json"), events)
    if said:
        yield _head(said["audit"], shown)
        yield _measurements(request, said)


def _history(request: Mapping[str, Any], events: list[dict[str, Any]], *, is_over: bool) -> CheckResult:
    """While a request is open it may have moved after the log was asked, so the log may know less than all."""
    moved = [_move(move["at"], move) for move in request["history"]]
    logged = [_move(event["at"], event["facts"]) for event in events if event["event"] == "deletion_request.moved"]
    holds = moved == logged if is_over else moved[: len(logged)] == logged
    says = "The request's history is the one that the audit log has."
    return CheckResult("history", holds, says if holds else "The audit log has another history of the request.")


def _move(at: str, move: Mapping[str, Any]) -> tuple[datetime, str | None, str]:
    return datetime.fromisoformat(at), move["before"], move["after"]


def _issued(certificate: bytes | None, events: list[dict[str, Any]]) -> Iterator[CheckResult]:
    logged = [event["facts"]["sha256"] for event in events if event["event"] == "certificate.issued"]
    found = [] if certificate is None else [hashlib.sha256(certificate).hexdigest()]
    if logged == found:
        says = "The certificate is the only one that the audit log says was issued."
        yield CheckResult("issued", True, says if found else "No certificate was issued, says the audit log.")
    else:
        yield CheckResult("issued", False, "The certificate is not the one that the audit log says was issued.")


def _head(said: Mapping[str, Any], shown: Shown) -> CheckResult:
    height, head = said["chain_height"], said["head_sha256"]
    known = shown.heads.get(height)
    holds = known is not None and known.hex() == head
    says = f"The head of the audit log that the certificate names stands in it, at height {height}."
    return CheckResult("head", holds, says if holds else f"The certificate names another head at height {height}.")


def _measurements(request: Mapping[str, Any], said: Mapping[str, Any]) -> CheckResult:
    certified = dict(leaves(said["measurements"]))
    holds = all(certified.get(place) == value for place, value in leaves(request["metrics"]))
    says = "What was measured is in the request's record as in the certificate."
    return CheckResult(
        "measurements", holds, says if holds else "The request's record and the certificate differ in it."
    )
