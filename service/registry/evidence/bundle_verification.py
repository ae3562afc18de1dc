"""Offline verification of a bundle of evidence, with public keys only."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from service.registry.audit import inclusion_proof
from service.registry.audit.hash_chain import Broken
from service.registry.audit.inclusion_proof import VerifiedProof
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
    """Verify a bundle: its encoding, files, certificate and audit proof, and that they agree.

    `keys` are those that may have signed it, by their identifiers; the keys in the bundle itself are not trusted.
    """
    try:
        files = unzipped(content)
    except NotZippedHere:
        message = "This is not a bundle as the service writes it, byte for byte."
        return Verdict([CheckResult("archive", False, message)], None)
    findings = [CheckResult("archive", True, "The bundle is written as the service writes it, byte for byte.")]
    try:
        key = _key(files.get(SIGNED, b""), keys)
        signed_request_id = bundle_manifest.check(files, key)
    except (NotAnEnvelope, OtherKey, SignatureInvalid) as error:
        return Verdict([*findings, CheckResult("files", False, f"The manifest: {error.detail}")], None)
    except OtherFiles as error:
        return Verdict([*findings, CheckResult("files", False, str(error))], None)
    message = (
        f"Key {key.key_id} has signed the manifest: all {len(files) - 2} files are as they were, and no other is there."
    )
    findings.append(CheckResult("files", True, message))
    certificate = files.get("certificate.json")
    statement = None
    if certificate is not None:
        verdict = _certificate(certificate, keys, model)
        findings += verdict.findings
        statement = verdict.statement
    try:
        findings += _agreement(files, keys, signed_request_id, request_id, statement)
    except Broken as broken:
        message = f"The piece of the audit log is not whole: at height {broken.height}, {broken}."
        findings.append(CheckResult("audit", False, message))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        findings.append(CheckResult("documents", False, "Its documents are not written as those of a bundle are."))
    return Verdict(findings, statement)


def _key(content: bytes, keys: Keys) -> PublicKey:
    """The key that the envelope names."""
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
    signed_request_id: str,
    expected_request_id: uuid.UUID | None,
    statement: Mapping[str, Any] | None,
) -> Iterator[CheckResult]:
    """Whether files, certificate and audit log are of one request, and agree on it."""
    request, proof = (json.loads(files[name]) for name in ("request.json", "audit.json"))
    predicate = statement and statement["predicate"]
    request_ids = {signed_request_id, request["id"], proof["request"], *(predicate["request_ids"] if predicate else ())}
    holds = request_ids == {str(expected_request_id or signed_request_id)}
    message = f"Everything in it is of request {signed_request_id}."
    mismatch = f"It is of more than one request, or of another: {', '.join(sorted(request_ids))}."
    yield CheckResult("request", holds, message if holds else mismatch)

    verified_proof = inclusion_proof.verify(proof, keys)
    events = [json.loads(entry) for entry in verified_proof.entries]
    message = f"{len(events)} entries about the request stand in the audit log, up to heads that were signed"
    yield CheckResult("audit", bool(events), f"{message}, the last one at {verified_proof.signed_at}.")
    yield _history(request, events, is_over=statement is not None)
    yield from _issued(files.get("certificate.json"), events)
    if predicate:
        yield _head(predicate["audit"], verified_proof)
        yield _measurements(request, predicate)


def _history(request: Mapping[str, Any], events: list[dict[str, Any]], *, is_over: bool) -> CheckResult:
    """Compare the histories. While a request is open, the audit proof may be older than its record, and so shorter."""
    recorded = [_move(move["at"], move) for move in request["history"]]
    logged = [_move(event["at"], event["facts"]) for event in events if event["event"] == "deletion_request.moved"]
    holds = recorded == logged if is_over else recorded[: len(logged)] == logged
    message = "The request's history is the one that the audit log has."
    return CheckResult("history", holds, message if holds else "The audit log has another history of the request.")


def _move(at: str, move: Mapping[str, Any]) -> tuple[datetime, str | None, str]:
    return datetime.fromisoformat(at), move["before"], move["after"]


def _issued(certificate: bytes | None, events: list[dict[str, Any]]) -> Iterator[CheckResult]:
    logged = [event["facts"]["sha256"] for event in events if event["event"] == "certificate.issued"]
    present = [] if certificate is None else [hashlib.sha256(certificate).hexdigest()]
    if logged == present:
        message = "The certificate is the only one that the audit log says was issued."
        yield CheckResult("issued", True, message if present else "No certificate was issued, says the audit log.")
    else:
        yield CheckResult("issued", False, "The certificate is not the one that the audit log says was issued.")


def _head(audit: Mapping[str, Any], verified_proof: VerifiedProof) -> CheckResult:
    height, head = audit["chain_height"], audit["head_sha256"]
    logged = verified_proof.heads.get(height)
    holds = logged is not None and logged.hex() == head
    message = f"The head of the audit log that the certificate names stands in it, at height {height}."
    return CheckResult("head", holds, message if holds else f"The certificate names another head at height {height}.")


def _measurements(request: Mapping[str, Any], predicate: Mapping[str, Any]) -> CheckResult:
    certified = dict(leaves(predicate["measurements"]))
    holds = all(certified.get(place) == value for place, value in leaves(request["metrics"]))
    message = "What was measured is in the request's record as in the certificate."
    return CheckResult(
        "measurements", holds, message if holds else "The request's record and the certificate differ in it."
    )
