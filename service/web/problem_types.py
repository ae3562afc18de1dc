"""The types of problems: the one table that says which error becomes which HTTP status."""

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
class Kind:
    """One type of problem: the status, the last part of its type URI, and a title that never varies."""

    status: int
    slug: str
    title: str
    advice: str


NOT_FOUND = Kind(404, "not-found", "There is nothing here.", "Check the path and the identifier in it.")
INVALID = Kind(
    422, "invalid-input", "Something in the request is not valid.", "`errors` points to each field, file and label."
)
_NAME_TAKEN = Kind(409, "name-taken", "The name is in use.", "Choose another name, or use what exists under it.")
UNAVAILABLE = Kind(503, "unavailable", "The service cannot work right now.", "Try again later, as `Retry-After` says.")
INTERNAL = Kind(
    500, "internal-error", "The service made a mistake.", "Report the `instance`; the service's log has the details."
)

#: The one place where facts meet HTTP. A class stands for its subclasses too, a number for what the framework raises.
TABLE: dict[type[Exception] | int, Kind] = {
    errors.NotFound: NOT_FOUND,
    errors.ModelNameTaken: _NAME_TAKEN,
    errors.EvaluationSetNameTaken: _NAME_TAKEN,
    errors.ManifestNameTaken: _NAME_TAKEN,
    errors.VersionMissing: Kind(
        409, "version-missing", "The model has no version.", "Register a version of the model first."
    ),
    errors.ScopeMissing: Kind(
        403, "scope-missing", "The caller may not do this.", "Use a key that has the scope, or ask for one."
    ),
    errors.OwnRequest: Kind(
        403, "own-request", "The requester cannot approve the request.", "Somebody with another key has to."
    ),
    errors.NotAwaitingApproval: Kind(
        409, "not-awaiting-approval", "The request does not wait for approval.", "Read its state."
    ),
    errors.KeyReused: Kind(
        422,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another request.",
        "Make a new key for each thing to create; send the same one again only to repeat the same request.",
    ),
    errors.CreationInFlight: Kind(
        409,
        "idempotency-key-in-flight",
        "The first request with this Idempotency-Key is still worked on.",
        "Send the request again in a few seconds.",
    ),
    errors.GateNotPassed: Kind(
        409,
        "gate-not-passed",
        "The version did not pass the quality gate.",
        "Look at its metrics; to point an alias to it all the same, send `override_gate: true`.",
    ),
    errors.VersionQuarantined: Kind(
        409,
        "version-quarantined",
        "The version is quarantined.",
        "Use another one, or have its `disposition` changed to `kept`.",
    ),
    errors.VersionDeleted: Kind(410, "version-deleted", "The version is deleted.", "Use another one."),
    errors.VersionInUse: Kind(
        409,
        "version-in-use",
        "The version is in use.",
        "Point its aliases elsewhere; wait until no deletion request of its model is under way, or withdraw them.",
    ),
    errors.PreconditionFailed: Kind(
        412, "precondition-failed", "It has changed since it was read.", "Read it again, then decide again."
    ),
    errors.SubjectRequestReused: Kind(
        409,
        "subject-request-reused",
        "The subject_request_id was used for another request.",
        "Make a new identifier for each request; send the same body again only to repeat the same request.",
    ),
    errors.NotPending: Kind(
        409, "not-pending", "The request is no longer pending.", "It can no longer be cancelled; read its status."
    ),
    errors.PastCommitPoint: Kind(
        409, "past-commit-point", "The request has ended.", "It can no longer be cancelled; read its state."
    ),
    errors.WebhookDisabled: Kind(
        409, "webhook-disabled", "The webhook is disabled.", "Enable it first; `disabled_reason` says why it is."
    ),
    errors.ImagesDestroyed: Kind(
        409,
        "images-destroyed",
        "The images of the request are destroyed.",
        "A failed request keeps its images for a while only. Send a new request.",
    ),
    errors.NotRetriable: Kind(409, "not-retriable", "Only a failed request can be retried.", "Read its state."),
    errors.InvalidInput: INVALID,
    ImageSizeUnsupported: INVALID,
    CheckpointRejected: Kind(
        422,
        "checkpoint-rejected",
        "The checkpoint cannot be used.",
        "It must be one safetensors file with exactly the architecture's tensors, all finite. `errors` names the first "
        "ten that differ.",
    ),
    errors.MalformedCursor: Kind(
        422, "malformed-cursor", "The cursor is not of this listing.", "Start again without a cursor."
    ),
    errors.QueueFull: Kind(
        429,
        "queue-full",
        "Too many deletion requests are waiting.",
        "Wait as long as `Retry-After` says; workers, approvals and withdrawals make room.",
    ),
    SigningKeyUnusable: UNAVAILABLE,
    errors.StorageFull: Kind(507, "storage-full", "There is no room left.", "Tell the operator of the service."),
    OtherMasterKey: UNAVAILABLE,
    SealBroken: UNAVAILABLE,
    OperationalError: UNAVAILABLE,
    PoolTimeout: UNAVAILABLE,
    RequestValidationError: INVALID,
    400: Kind(400, "malformed-request", "The request cannot be read.", "Check that the body is what its type says."),
    401: Kind(
        401,
        "unauthenticated",
        "Nobody knows who is calling.",
        "Send `Authorization: Bearer` with an API key that is neither revoked nor expired.",
    ),
    404: NOT_FOUND,
    405: Kind(405, "method-not-allowed", "The method is not allowed here.", "`Allow` lists those that are."),
    408: Kind(
        408, "upload-stalled", "The upload has stopped.", "Send the request again, and all of it without long pauses."
    ),
    413: Kind(413, "content-too-large", "The request is too large.", "Send less, or ask the operator for a new limit."),
    416: Kind(
        416, "range-not-satisfiable", "The range is outside of the file.", "`Content-Range` says how long the file is."
    ),
    429: Kind(429, "quota-exceeded", "There were too many requests.", "Wait as long as `Retry-After` says."),
    500: INTERNAL,
    503: UNAVAILABLE,
}


def kind_of(error: Exception) -> Kind | None:
    """What the table says of an error, or of the first of its bases that is in it."""
    return next((TABLE[base] for base in type(error).__mro__ if base in TABLE), None)
