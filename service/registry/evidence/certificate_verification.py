"""Offline verification of a certificate, with a public key and optionally a checkpoint."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.registry.crypto import dsse
from service.registry.crypto.canonical_json import sha256
from service.registry.crypto.dsse import NotAnEnvelope, OtherKey
from service.registry.crypto.signing_keys import PublicKey, SignatureInvalid
from service.registry.evidence.statement import PREDICATE


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    check: str
    holds: bool
    says: str


@dataclass(frozen=True)
class Verdict:
    """The results of all checks, and the statement; None if its signature does not verify."""

    findings: list[CheckResult]
    statement: dict[str, Any] | None

    @property
    def holds(self) -> bool:
        """Whether all checks hold."""
        return all(finding.holds for finding in self.findings)


@dataclass(frozen=True)
class File:
    """A checkpoint file to compare with a certificate."""

    sha256: str
    origin: Mapping[str, Any] | None  #: from its metadata: `job` and `parent_sha256`


def verify(
    certificate: bytes,
    key: PublicKey,
    *,
    model: File | None = None,
    parent_sha256: str | None = None,
    request_id: uuid.UUID | None = None,
) -> Verdict:
    """Verify a certificate: first its signature, then its digests, and that it is about what was given."""
    try:
        statement = dsse.verify(certificate, key)
    except (NotAnEnvelope, OtherKey, SignatureInvalid) as error:
        return Verdict([CheckResult("signature", False, error.detail)], None)
    findings = [
        CheckResult("signature", True, f"Key {key.key_id} has signed this certificate, and no byte was changed since.")
    ]
    if statement["predicateType"] != PREDICATE:
        message = "This is a signed statement of another kind, or of a newer release."
        return Verdict([*findings, CheckResult("kind", False, message)], None)
    findings.append(_digests(statement["predicate"]))
    if request_id is not None:
        findings.append(_request(statement["predicate"], request_id))
    if model is not None:
        findings += _model(statement, model)
    if parent_sha256 is not None:
        findings.append(_same("parent", statement["predicate"]["parent"], parent_sha256))
    return Verdict(findings, statement)


def _digests(predicate: Mapping[str, Any]) -> CheckResult:
    """Check the digests of the parameters and the policy, which the certificate contains."""
    method, gate = predicate["method"], predicate["gate"]
    holds = sha256(method["parameters"]) == method["parameters_sha256"]
    holds &= (gate["policy"] and sha256(gate["policy"])) == gate["policy_sha256"]
    message = "The digests of parameters and policy are those of the parameters and the policy that it names."
    return CheckResult("parameters", holds, message if holds else "The digests of parameters or policy are of others.")


def _request(predicate: Mapping[str, Any], request_id: uuid.UUID) -> CheckResult:
    holds = predicate["request_ids"] == [str(request_id)]
    message = f"It is the certificate of request {request_id}."
    return CheckResult(
        "request", holds, message if holds else f"It is of another request: {', '.join(predicate['request_ids'])}."
    )


def _model(statement: Mapping[str, Any], model: File) -> list[CheckResult]:
    [subject] = statement["subject"]
    findings = [_same("model", subject, model.sha256)]
    if findings[0].holds and model.origin is not None:
        predicate = statement["predicate"]
        holds = model.origin.get("job") == predicate["run"]["job"]
        holds &= model.origin.get("parent_sha256") == predicate["parent"]["digest"]["sha256"]
        message = "The file names the same run and the same earlier version as the certificate."
        findings.append(
            CheckResult("origin", holds, message if holds else "The file names another run or another earlier version.")
        )
    return findings


def _same(check: str, resource: Mapping[str, Any], actual: str) -> CheckResult:
    expected = resource["digest"]["sha256"]
    if actual == expected:
        return CheckResult(check, True, f"The file is {resource['name']}, byte for byte (SHA-256 {actual}).")
    return CheckResult(
        check, False, f"The file is not {resource['name']}: its SHA-256 is {actual}, the certificate says {expected}."
    )
