"""The life of a deletion request, of the job that serves it, of the OpenDSR request behind it, and of messages."""

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


class IllegalMove(ValueError):
    """The state machine has no such move."""


_MOVES: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.AWAITING_APPROVAL, State.QUEUED, State.CANCELLED}),
    State.AWAITING_APPROVAL: frozenset({State.QUEUED, State.REJECTED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.CANCELLED}),
    State.NEEDS_REVIEW: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.COMPLETED: frozenset(),
    State.REJECTED: frozenset(),
    State.CANCELLED: frozenset(),
}

#: States in which nothing happens any more unless a person acts.
ENDED = frozenset({State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.REJECTED, State.CANCELLED})


def may_move(before: State, after: State) -> bool:
    """Is `before -> after` a legal move?"""
    return after in _MOVES[before]


def check_move(before: State, after: State) -> None:
    """Raise `IllegalMove` unless `before -> after` is legal."""
    if not may_move(before, after):
        raise IllegalMove(f"{before} -> {after}")
