"""The states of deletion requests, jobs, versions, OpenDSR requests and webhook deliveries, as stored and sent."""

from enum import StrEnum


class State(StrEnum):
    """The state of a deletion request. Jobs use the same values except `received`."""

    RECEIVED = "received"  #: stored, not yet cleared to run
    AWAITING_APPROVAL = "awaiting_approval"  #: a person has to agree first
    QUEUED = "queued"  #: waits for a worker, or for an earlier job of the same model
    RUNNING = "running"  #: a worker holds the lease
    COMPLETED = "completed"  #: a new version exists and passed the quality gate
    NEEDS_REVIEW = "needs_review"  #: a new version exists and did not pass; no alias moves
    FAILED = "failed"  #: no new version; the reason says why, and it may be retried
    REJECTED = "rejected"  #: a person declined it
    CANCELLED = "cancelled"  #: withdrawn before the commit point


class Phase(StrEnum):
    """What a running job is doing."""

    LOAD = "load"  #: checkpoint, samples, anchors
    SURROGATES = "surrogates"  #: images that stand in for the retained data
    UNLEARN = "unlearn"  #: the optimisation
    EVALUATE = "evaluate"  #: before and after, on everything that was registered
    PUBLISH = "publish"  #: the new version becomes visible


class Disposition(StrEnum):
    """Whether a version may be used."""

    KEPT = "kept"  #: may be downloaded, pointed to and built on
    QUARANTINED = "quarantined"  #: its checkpoint is stored but not given out; may be kept again
    DELETED = "deleted"  #: its checkpoint is destroyed, or will be at the next sweep; final


class DeliveryState(StrEnum):
    """The state of a webhook delivery."""

    PENDING = "pending"  #: to be sent, for the first time or again
    SUCCEEDED = "succeeded"  #: the endpoint answered 2xx
    FAILED = "failed"  #: given up; it may be replayed


class RequestStatus(StrEnum):
    """The status of an OpenDSR request, in the specification's words (OpenDSR 2.0, section 8)."""

    PENDING = "pending"  #: received; no run has begun
    IN_PROGRESS = "in_progress"  #: a run has begun, or one failed and may be retried
    COMPLETED = "completed"  #: every deletion request completed, or there was none
    CANCELLED = "cancelled"  #: withdrawn, or ended otherwise than completed


#: States in which nothing happens unless a person acts.
ENDED = frozenset({State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.REJECTED, State.CANCELLED})
