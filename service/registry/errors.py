"""Errors of the domain. The docstring of a class is its message; HTTP statuses are assigned in `service.web`."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_FAULTS = 20
"""Upper limit of faults in one response."""


@dataclass(frozen=True)
class Fault:
    """One invalid part of a request.

    `pointer` is a JSON Pointer in URI fragment form (RFC 6901, section 6) into the request: a field of the JSON body,
    of the `metadata` part, or the name and position of an uploaded file. `detail` never repeats the value itself.
    """

    pointer: str
    detail: str


class RegistryError(Exception):
    """Something about this request is not right."""

    def __init__(self, detail: str | None = None, *, faults: tuple[Fault, ...] = ()) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        self.faults = faults
        super().__init__(self.detail)


class NotFound(RegistryError):
    """There is nothing under this identifier."""


class TenantNotFound(NotFound):
    """There is no tenant of this name."""


class ApiKeyNotFound(NotFound):
    """There is no API key under this identifier."""


class ModelNotFound(NotFound):
    """No model is registered under this name."""


class VersionNotFound(NotFound):
    """This model has no such version."""


class AliasNotFound(NotFound):
    """This model has no such alias."""


class ManifestNotFound(NotFound):
    """This version has no such manifest."""


class EvaluationSetNotFound(NotFound):
    """This model has no such evaluation set."""


class AnchorSetNotFound(NotFound):
    """There is no anchor set under this identifier."""


class DeletionRequestNotFound(NotFound):
    """There is no deletion request under this identifier."""


class CertificateMissing(NotFound):
    """The request has no certificate: only one that ended with a version gets one."""


class SigningKeyNotFound(NotFound):
    """No key of this identifier has ever signed anything here."""


class JobNotFound(NotFound):
    """There is no job under this identifier."""


class WebhookNotFound(NotFound):
    """There is no webhook under this identifier."""


class DeliveryNotFound(NotFound):
    """This webhook has no such delivery."""


class SubjectRequestNotFound(NotFound):
    """There is no OpenDSR request under this identifier."""


class SubjectRequestReused(RegistryError):
    """This `subject_request_id` was used for a different request."""


class NotPending(RegistryError):
    """The request is no longer pending, so it cannot be cancelled."""


class WebhookDisabled(RegistryError):
    """The webhook is disabled, so nothing is sent to it."""


class ModelNameTaken(RegistryError):
    """A model is already registered under this name."""


class EvaluationSetNameTaken(RegistryError):
    """This model already has an evaluation set of this name."""


class ManifestNameTaken(RegistryError):
    """This version already has a manifest of this name."""


class VersionMissing(RegistryError):
    """The model has no version yet, so there is nothing to unlearn from. Register one first."""


class GateNotPassed(RegistryError):
    """The version did not pass the quality gate. An alias points to it only if `override_gate` says so."""


class VersionQuarantined(RegistryError):
    """The version is quarantined: it is neither given out, nor pointed to, nor built on."""


class VersionDeleted(RegistryError):
    """The version is deleted. What it was and how it was measured is known still, its checkpoint is not."""


class VersionInUse(RegistryError):
    """The version is in use: an alias points to it, or deletion requests under way build on it."""


class PreconditionFailed(RegistryError):
    """It has changed since it was read."""


class PastCommitPoint(RegistryError):
    """The request has already ended, so it can no longer be cancelled."""


class NotAwaitingApproval(RegistryError):
    """The request does not wait for anybody's approval."""


class OwnRequest(RegistryError):
    """Whoever asked for the deletion cannot approve it. Another person has to."""


class ScopeMissing(RegistryError):
    """The caller may not do this."""

    def __init__(self, scopes: Sequence[str]) -> None:
        super().__init__(f"This takes the scope {' and '.join(f'`{scope}`' for scope in scopes)}.")
        self.scopes = scopes


class KeyReused(RegistryError):
    """This `Idempotency-Key` was used for a different request."""


class CreationInFlight(RegistryError):
    """The first request with this `Idempotency-Key` has not been answered yet."""


class QueueFull(RegistryError):
    """As many deletion requests wait already as may wait at once."""


class NotRetriable(RegistryError):
    """Only a failed request can be retried."""


class ImagesDestroyed(NotRetriable):
    """It failed so long ago that its images were destroyed."""


class InvalidInput(RegistryError):
    """The request is understood, but something in it is not valid."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults=faults)


class MalformedCursor(RegistryError):
    """The cursor was not made by this listing."""


class FenceLost(RegistryError):
    """Another worker has taken the job over; what this one computed is void."""


class StorageFull(RegistryError):
    """The artifact store has no room left."""
