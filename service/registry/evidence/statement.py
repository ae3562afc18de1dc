"""The statement of a certificate: an in-toto Statement v1 about the checkpoint that resulted from a deletion request.

It contains no pseudonym of a person. What was not measured, or not recorded, is `null`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any

from service.registry.crypto.canonical_json import sha256
from service.registry.measurements.schemas import of_request
from service.registry.options import Options
from service.registry.states import State
from service.registry.tables import DeletionRequest, Model, Version

STATEMENT = "https://in-toto.io/Statement/v1"

#: An identifier, not an address; nobody can own a domain below `.example` (RFC 2606).
PREDICATE = "https://structguard.example/attestation/model-deletion/v1"

LIMITS = (
    (
        "This states what was measured of an approximate method, on the files that are named here by their digests, "
        "and on nothing else."
    ),
    (
        "That an image is misclassified does not mean that nothing about it can be inferred from the weights. A model "
        "that was trained without the images would usually still classify most of them correctly."
    ),
    "Membership inference was tried with attacks that see what the model answers. Stronger ones exist.",
    "What is null was not measured.",
    (
        "Earlier versions, copies that were made of them, backups and the training data are not changed by this run. "
        "What becomes of them is the controller's to decide."
    ),
    "The states of other versions, the places of aliases and what became of images are as of the time of issue.",
    (
        "This is no legal opinion. Whether it answers the request under the law that is named here is the "
        "controller's to judge."
    ),
)

_SHARED_RUN = (
    "The run served several requests: forget_accuracy and robust_forget_accuracy are those of this request's images, "
    "all other measurements are of the run as a whole."
)
_REFERENCES_UNVERIFIED = (
    "That the reference models of membership inference have never learned the images is the word of whoever named "
    "them, and was not measured. Had one learned them, the attacks that compare would find less."
)
_GATE_FAILED = "The quality gate did not pass: its objections stand in this certificate, and no alias was moved."


@dataclass(frozen=True)
class Facts:
    """What the registry knows of a request that ended with a version, when its certificate is issued."""

    request: DeletionRequest  # loaded with its model and its job
    version: Version
    parent: dict[str, Any]  # name, digest and disposition
    requests: int  # number of requests that the run served
    commitment: str  # to the images
    images: dict[str, Any]  # their disposition
    reach: dict[str, Any]  # the affected versions
    audit: dict[str, Any]  # height and head of the tenant's chain
    at: datetime


def compose(facts: Facts) -> dict[str, Any]:
    """The statement as JSON."""
    model = facts.request.model
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": f"{name(model, facts.version)}/model.safetensors", "digest": {"sha256": facts.version.sha256}}
        ],
        "predicateType": PREDICATE,
        "predicate": _scope(facts) | _run(facts) | _results(facts),
    }


def name(model: Model, version: Version) -> str:
    """The name of a version, such as `pets/2`."""
    return f"{model.name}/{version.number}"


def rfc3339(time: datetime | None) -> str | None:
    """A time as in RFC 3339, in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _scope(facts: Facts) -> dict[str, Any]:
    request = facts.request
    return {
        "request_ids": [str(request.id)],
        "regulation": request.regulation,
        "received": rfc3339(request.received_at),
        "due": rfc3339(request.due_at),
        "completed": rfc3339(request.ended_at),
        "outcome": request.state.value,
        "forget_set": {
            "count": request.sample_count,
            "commitment": f"hmac-sha256:{facts.commitment}",
            "images": facts.images,
        },
        "reach": facts.reach,
        "audit": facts.audit,
        "issued": rfc3339(facts.at),
        "statement_of_limits": _limits(facts),
    }


def _run(facts: Facts) -> dict[str, Any]:
    job, version = facts.request.job, facts.version
    options = Options.model_validate(job.options)
    provenance = job.provenance or {}
    return {
        "run": {"job": str(job.id), "requests": facts.requests},
        "parent": facts.parent,
        "method": {
            "name": version.method,
            "version": version.code_version,
            "profile": options.profile,
            "goal": options.goal,
            "scope": options.resolved_scope(),
            "seed": options.seed,
            "parameters": version.config,
            "parameters_sha256": sha256(version.config),
        },
        "anchors": provenance.get("anchors"),
        "evaluation_sets": provenance.get("evaluation_sets"),
        "references": provenance.get("references"),
        "environment": {"service": package_version("structguard"), "worker": provenance.get("environment")},
    }


def _results(facts: Facts) -> dict[str, Any]:
    request, provenance = facts.request, facts.request.job.provenance or {}
    measured, policy = of_request(request.metrics, request.job.metrics), provenance.get("policy")
    return {
        "measurements": {when: measured.get(when) or None for when in ("before", "after")},
        "gate": {
            "result": "PASSED" if request.state is State.COMPLETED else "FAILED",
            "objections": provenance.get("objections"),
            "policy": policy,
            "policy_sha256": sha256(policy) if policy else None,
        },
    }


def _limits(facts: Facts) -> list[str]:
    gate_failed = [] if facts.request.state is State.COMPLETED else [_GATE_FAILED]
    shared_run = [_SHARED_RUN] if facts.requests > 1 else []
    references = (facts.request.job.provenance or {}).get("references", ())
    references_unverified = (
        [_REFERENCES_UNVERIFIED] if any(reference["left_out"] is None for reference in references) else []
    )
    return [*gate_failed, *LIMITS, *shared_run, *references_unverified]
