"""Where deletion requests, jobs, versions, OpenDSR requests and messages stand, in words that are stored and sent."""

from enum import StrEnum


class State(StrEnum):
    """Where a deletion request stands. A job uses the same words, but the first."""

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
    """What has become of a version."""

    KEPT = "kept"  #: whoever may can use it
    QUARANTINED = "quarantined"  #: the checkpoint is there, and nobody gets it; may be kept again
    DELETED = "deleted"  #: its checkpoint is destroyed, or will be at the next sweep; for ever


class DeliveryState(StrEnum):
    """Where a message to an endpoint stands."""

    PENDING = "pending"  #: to be sent, for the first time or again
    SUCCEEDED = "succeeded"  #: the endpoint has it
    FAILED = "failed"  #: given up; it may be replayed


class RequestStatus(StrEnum):
    """Where an OpenDSR request stands, in the specification's words (OpenDSR 2.0, section 8)."""

    PENDING = "pending"  #: received, and nothing of it has begun
    IN_PROGRESS = "in_progress"  #: begun, or failed and to be tried again
    COMPLETED = "completed"  #: nothing is left to do, and nothing went wrong
    CANCELLED = "cancelled"  #: withdrawn, or ended otherwise than asked


#: States in which nothing happens any more unless a person acts.
ENDED = frozenset({State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.REJECTED, State.CANCELLED})
