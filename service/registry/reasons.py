"""Why a job or a deletion request is in its state: a code, its parameters, and the phase in which it happened.

Tables store these three; `str` makes the sentence that responses and the audit log show.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from service.registry.states import Phase


class ReasonCode(StrEnum):
    """What happened; the comments name the parameters of each."""

    APPROVED = "approved"
    DECLINED = "declined"  #: `text`, written by the person who declined it
    RETRIED = "retried"
    WITHDRAWN = "withdrawn"
    RUN_WITHDRAWN = "run_withdrawn"  #: another request of the run was withdrawn, so this one is queued again
    RUN_SPLIT = "run_split"  #: a run of this number of `requests` failed; `cause` is a stored reason
    GATE_OBJECTED = "gate_objected"  #: `objections`, as stored
    WORKER_STOPPED = "worker_stopped"
    WORKER_LOST = "worker_lost"
    PROCESS_KILLED = "process_killed"  #: `signal`, its name
    PROCESS_EXITED = "process_exited"  #: `status`, the exit code
    PROCESS_STALLED = "process_stalled"  #: `seconds` without progress
    TIMED_OUT = "timed_out"  #: `seconds`, the limit
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"  #: of the worker, or of the database
    STORAGE_FULL = "storage_full"  #: of the artifact store
    IMAGES_MISSING = "images_missing"
    IMAGES_UNREADABLE = "images_unreadable"
    MASTER_KEY_CHANGED = "master_key_changed"
    ENCRYPTED_FILE_ALTERED = "encrypted_file_altered"
    CHECKPOINT_ALTERED = "checkpoint_altered"
    EVALUATION_SET_ALTERED = "evaluation_set_altered"
    ANCHORS_ALTERED = "anchors_altered"
    INPUT_UNUSABLE = "input_unusable"  #: `detail` says which, and why
    UNEXPECTED_ERROR = "unexpected_error"  #: `error`, the name of the exception's class


_RESTORE = "restore it from a backup, then retry."

#: What happened, and what can be done or happens next; `{…}` is a parameter.
_WORDING: dict[ReasonCode, tuple[str, str | None]] = {
    ReasonCode.APPROVED: ("approved", None),
    ReasonCode.DECLINED: ("{text}", None),
    ReasonCode.RETRIED: ("retried", None),
    ReasonCode.WITHDRAWN: ("withdrawn", None),
    ReasonCode.RUN_WITHDRAWN: ("another request of its run was withdrawn", None),
    ReasonCode.RUN_SPLIT: ("the run for {requests} requests failed ({cause})", "each is tried by itself"),
    ReasonCode.GATE_OBJECTED: ("{objections}", None),
    ReasonCode.WORKER_STOPPED: ("the worker was stopped", None),
    ReasonCode.WORKER_LOST: ("the worker stopped answering", None),
    ReasonCode.PROCESS_KILLED: ("the worker's process was killed by {signal}", None),
    ReasonCode.PROCESS_EXITED: ("the worker's process ended with exit code {status}", None),
    ReasonCode.PROCESS_STALLED: ("the worker's process told of no progress for {seconds}", None),
    ReasonCode.TIMED_OUT: ("the run took longer than {seconds}, as long as one may take", "a retry begins anew"),
    ReasonCode.OUT_OF_MEMORY: ("out of memory on the device", "use a larger one, then retry"),
    ReasonCode.DISK_FULL: ("a disk has no room left", "make some, then retry"),
    ReasonCode.STORAGE_FULL: ("The artifact store has no room left.", None),
    ReasonCode.IMAGES_MISSING: ("The images are not in the artifact store", _RESTORE),
    ReasonCode.IMAGES_UNREADABLE: ("The images cannot be decoded: their file is damaged", _RESTORE),
    ReasonCode.MASTER_KEY_CHANGED: (
        "It cannot be decrypted: this is not the master key of when it was stored",
        "restore it, then retry.",
    ),
    ReasonCode.ENCRYPTED_FILE_ALTERED: ("It cannot be decrypted: the file was altered", _RESTORE),
    ReasonCode.CHECKPOINT_ALTERED: ("The stored checkpoint is not the one that was registered", _RESTORE),
    ReasonCode.EVALUATION_SET_ALTERED: ("A stored evaluation set is not the one that was registered", _RESTORE),
    ReasonCode.ANCHORS_ALTERED: (
        "The stored anchors are not those that were registered",
        "restore them from a backup, then retry.",
    ),
    ReasonCode.INPUT_UNUSABLE: ("{detail}", None),
    ReasonCode.UNEXPECTED_ERROR: ("{error}", "the worker's log has the details"),
}


class ObjectionKind(StrEnum):
    """The criterion that a version does not meet."""

    WEIGHTS_NOT_FINITE = "weights_not_finite"
    FORGET_ACCURACY = "forget_accuracy"
    ROBUST_FORGET_ACCURACY = "robust_forget_accuracy"
    MEMBERSHIP_NOT_MEASURED = "membership_not_measured"
    MEMBERSHIP_ADVANTAGE = "membership_advantage"
    TEST_ACCURACY_DROP = "test_accuracy_drop"
    COLLAPSE = "collapse"


_OBJECTION_WORDING = {
    ObjectionKind.WEIGHTS_NOT_FINITE: "some weights are not finite",
    ObjectionKind.FORGET_ACCURACY: "only {measured:.1f} % of the images to forget are misclassified",
    ObjectionKind.ROBUST_FORGET_ACCURACY: "only {measured:.1f} % of their views are misclassified, "
    "{limit:g} % are asked for",
    ObjectionKind.MEMBERSHIP_NOT_MEASURED: "nothing shows that the images to forget look like unseen ones: "
    "that takes a test set of at least {limit:g} images",
    ObjectionKind.MEMBERSHIP_ADVANTAGE: "the membership advantage is {measured:.3f}, {limit:g} is allowed",
    ObjectionKind.TEST_ACCURACY_DROP: "A_test fell by {measured:.2f} points, {limit:g} are allowed",
    ObjectionKind.COLLAPSE: "structural collapse is {measured:.3f}, {limit:g} is allowed",
}


@dataclass(frozen=True)
class Objection:
    """A criterion of the quality gate that a version fails: the measured value and its limit, in the policy's units."""

    kind: ObjectionKind
    measured: float | None = None
    limit: float | None = None

    def __str__(self) -> str:
        return _OBJECTION_WORDING[self.kind].format(measured=self.measured, limit=self.limit)

    def stored(self) -> dict[str, Any]:
        """As JSON, which has no NaN or infinity: such a value is stored as text."""
        measured = self.measured
        is_number = measured is None or math.isfinite(measured)
        return {"kind": self.kind, "measured": measured if is_number else str(measured), "limit": self.limit}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `stored`."""
        measured = stored["measured"]
        return cls(ObjectionKind(stored["kind"]), None if measured is None else float(measured), stored["limit"])


@dataclass(frozen=True)
class Reason:
    """Why a job or deletion request is in its state; `phase` is the run's, if it happened in one."""

    code: ReasonCode
    phase: Phase | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def gate(cls, objections: Iterable[Objection]) -> Self:
        """The reason of a version that fails the quality gate."""
        return cls(ReasonCode.GATE_OBJECTED, None, {"objections": [objection.stored() for objection in objections]})

    @property
    def objections(self) -> list[Objection]:
        """The objections of the quality gate; empty for any other reason."""
        return [Objection.read(stored) for stored in self.parameters.get("objections", ())]

    @property
    def what(self) -> str:
        """What happened, without the phase and without what can be done about it."""
        shown = {name: _SHOWN.get(name, str)(value) for name, value in self.parameters.items()}
        times = f", {self.parameters['attempts']} times" if "attempts" in self.parameters else ""
        return _WORDING[self.code][0].format(**shown) + times

    @property
    def hint(self) -> str | None:
        """What can be done about it, or happens next."""
        return _WORDING[self.code][1]

    def __str__(self) -> str:
        what = f"{self.phase}: {self.what}" if self.phase else self.what
        return f"{what}; {self.hint}" if self.hint else what

    def in_each_of(self, attempts: int) -> Self:
        """The same reason, extended by the number of attempts that all ended with it."""
        return replace(self, parameters={**self.parameters, "attempts": attempts})

    def stored(self) -> dict[str, Any]:
        """As JSON, for the `cause` of another reason."""
        return {"code": self.code, "phase": self.phase, "parameters": dict(self.parameters)}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `stored`."""
        phase = stored["phase"]
        return cls(ReasonCode(stored["code"]), phase and Phase(phase), stored["parameters"])


#: How parameters are shown that are not simply text or a number.
_SHOWN: dict[str, Callable[[Any], str]] = {
    "seconds": lambda seconds: str(timedelta(seconds=seconds)),
    "cause": lambda stored: str(Reason.read(stored))[:400],  # `Transition.reason` has 500 characters
    "objections": lambda stored: "; ".join(str(Objection.read(objection)) for objection in stored),
}
