"""Problem types (RFC 9457), and the table that says which error is answered with which."""

from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.registry import errors
from service.registry.crypto.encrypted_files import SealBroken
from service.registry.crypto.master_key import OtherMasterKey
from service.registry.crypto.signing_keys import SigningKeyUnusable
from service.registry.models.architectures import ImageSizeUnsupported
from service.registry.models.checkpoint_files import CheckpointRejected


@dataclass(frozen=True)
class ProblemType:
    """HTTP status, last part of the type URI, fixed title, and advice for the page of the type."""

    status: int
    slug: str
    title: str
    advice: str


NOT_FOUND = ProblemType(404, "not-found", "There is nothing here.", "Check the path and the identifier in it.")
INVALID = ProblemType(
    422, "invalid-input", "Something in the request is not valid.", "`errors` points to each field, file and label."
)
_NAME_TAKEN = ProblemType(409, "name-taken", "The name is in use.", "Choose another name, or use what exists under it.")
UNAVAILABLE = ProblemType(
    503, "unavailable", "The service cannot work right now.", "Try again later, as `Retry-After` says."
)
INTERNAL = ProblemType(
    500, "internal-error", "The service made a mistake.", "Report the `instance`; the service's log has the details."
)

#: By exception class (subclasses included), or by status for the `HTTPException`s of the framework.
TABLE: dict[type[Exception] | int, ProblemType] = {
    errors.NotFound: NOT_FOUND,
    errors.ModelNameTaken: _NAME_TAKEN,
    errors.EvaluationSetNameTaken: _NAME_TAKEN,
    errors.ManifestNameTaken: _NAME_TAKEN,
    errors.VersionMissing: ProblemType(
        409, "version-missing", "The model has no version.", "Register a version of the model first."
    ),
    errors.ScopeMissing: ProblemType(
        403, "scope-missing", "The caller may not do this.", "Use a key that has the scope, or ask for one."
    ),
    errors.OwnRequest: ProblemType(
        403, "own-request", "The requester cannot approve the request.", "Somebody with another key has to."
    ),
    errors.NotAwaitingApproval: ProblemType(
        409, "not-awaiting-approval", "The request does not wait for approval.", "Read its state."
    ),
    errors.KeyReused: ProblemType(
        422,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another request.",
        "Make a new key for each thing to create; send the same one again only to repeat the same request.",
    ),
    errors.CreationInFlight: ProblemType(
        409,
        "idempotency-key-in-flight",
        "The first request with this Idempotency-Key is still worked on.",
        "Send the request again in a few seconds.",
    ),
    errors.GateNotPassed: ProblemType(
        409,
        "gate-not-passed",
        "The version did not pass the quality gate.",
        "Look at its metrics; to point an alias to it all the same, send `override_gate: true`.",
    ),
    errors.VersionQuarantined: ProblemType(
        409,
        "version-quarantined",
        "The version is quarantined.",
        "Use another one, or have its `disposition` changed to `kept`.",
    ),
    errors.VersionDeleted: ProblemType(410, "version-deleted", "The version is deleted.", "Use another one."),
    errors.VersionInUse: ProblemType(
        409,
        "version-in-use",
        "The version is in use.",
        "Point its aliases elsewhere; wait until no deletion request of its model is under way, or withdraw them.",
    ),
    errors.PreconditionFailed: ProblemType(
        412, "precondition-failed", "It has changed since it was read.", "Read it again, then decide again."
    ),
    errors.SubjectRequestReused: ProblemType(
        409,
        "subject-request-reused",
        "The subject_request_id was used for another request.",
        "Make a new identifier for each request; send the same body again only to repeat the same request.",
    ),
    errors.NotPending: ProblemType(
        409, "not-pending", "The request is no longer pending.", "It can no longer be cancelled; read its status."
    ),
    errors.PastCommitPoint: ProblemType(
        409, "past-commit-point", "The request has ended.", "It can no longer be cancelled; read its state."
    ),
    errors.WebhookDisabled: ProblemType(
        409, "webhook-disabled", "The webhook is disabled.", "Enable it first; `disabled_reason` says why it is."
    ),
    errors.ImagesDestroyed: ProblemType(
        409,
        "images-destroyed",
        "The images of the request are destroyed.",
        "A failed request keeps its images for a while only. Send a new request.",
    ),
    errors.NotRetriable: ProblemType(409, "not-retriable", "Only a failed request can be retried.", "Read its state."),
    errors.InvalidInput: INVALID,
    ImageSizeUnsupported: INVALID,
    CheckpointRejected: ProblemType(
        422,
        "checkpoint-rejected",
        "The checkpoint cannot be used.",
        "It must be one safetensors file with exactly the architecture's tensors, all finite. `errors` names the first "
        "ten that differ.",
    ),
    errors.MalformedCursor: ProblemType(
        422, "malformed-cursor", "The cursor is not of this listing.", "Start again without a cursor."
    ),
    errors.QueueFull: ProblemType(
        429,
        "queue-full",
        "Too many deletion requests are waiting.",
        "Wait as long as `Retry-After` says; workers, approvals and withdrawals make room.",
    ),
    SigningKeyUnusable: UNAVAILABLE,
    errors.StorageFull: ProblemType(507, "storage-full", "There is no room left.", "Tell the operator of the service."),
    OtherMasterKey: UNAVAILABLE,
    SealBroken: UNAVAILABLE,
    OperationalError: UNAVAILABLE,
    PoolTimeout: UNAVAILABLE,
    RequestValidationError: INVALID,
    400: ProblemType(
        400, "malformed-request", "The request cannot be read.", "Check that the body is what its type says."
    ),
    401: ProblemType(
        401,
        "unauthenticated",
        "Nobody knows who is calling.",
        "Send `Authorization: Bearer` with an API key that is neither revoked nor expired.",
    ),
    404: NOT_FOUND,
    405: ProblemType(405, "method-not-allowed", "The method is not allowed here.", "`Allow` lists those that are."),
    408: ProblemType(
        408, "upload-stalled", "The upload has stopped.", "Send the request again, and all of it without long pauses."
    ),
    413: ProblemType(
        413, "content-too-large", "The request is too large.", "Send less, or ask the operator for a new limit."
    ),
    416: ProblemType(
        416, "range-not-satisfiable", "The range is outside of the file.", "`Content-Range` says how long the file is."
    ),
    429: ProblemType(429, "quota-exceeded", "There were too many requests.", "Wait as long as `Retry-After` says."),
    500: INTERNAL,
    503: UNAVAILABLE,
}


def problem_type_of(error: Exception) -> ProblemType | None:
    """The entry of `TABLE` for the error's class or its nearest base class; None if there is none."""
    return next((TABLE[base] for base in type(error).__mro__ if base in TABLE), None)
