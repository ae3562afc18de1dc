"""Every reason that there is, and what releases that stored sentences have said for it."""

import math

from service.registry.reasons import Objection, ObjectionKind, Reason, ReasonCode
from service.registry.states import Phase

BROKEN = Reason(ReasonCode.UNEXPECTED_ERROR, Phase.UNLEARN, {"error": "ValueError"})
A_TEST_FELL = Objection(ObjectionKind.TEST_ACCURACY_DROP, 9.0, 5.0)
COLLAPSED = Objection(ObjectionKind.COLLAPSE, 0.251, 0.25)

OBJECTIONS = [
    (Objection(ObjectionKind.WEIGHTS_NOT_FINITE), "some weights are not finite"),
    (
        Objection(ObjectionKind.FORGET_ACCURACY, 87.5, 100.0),
        "only 87.5 % of the images to forget are misclassified",
    ),
    (
        Objection(ObjectionKind.ROBUST_FORGET_ACCURACY, math.nan, 80.0),
        "only nan % of their views are misclassified, 80 % are asked for",
    ),
    (
        Objection(ObjectionKind.MEMBERSHIP_NOT_MEASURED, limit=100.0),
        "nothing shows that the images to forget look like unseen ones: that takes a test set of at least 100 images",
    ),
    (
        Objection(ObjectionKind.MEMBERSHIP_ADVANTAGE, 0.123, 0.1),
        "the membership advantage is 0.123, 0.1 is allowed",
    ),
    (A_TEST_FELL, "A_test fell by 9.00 points, 5 are allowed"),
    (COLLAPSED, "structural collapse is 0.251, 0.25 is allowed"),
]

_GATE = Reason.gate(objection for objection, _ in OBJECTIONS)
_LOST = Reason(ReasonCode.WORKER_LOST)

REASONS = [
    (Reason(ReasonCode.APPROVED), "approved"),
    (Reason(ReasonCode.RETRIED), "retried"),
    (Reason(ReasonCode.WITHDRAWN), "withdrawn"),
    (Reason(ReasonCode.RUN_WITHDRAWN), "another request of its run was withdrawn"),
    (
        Reason(ReasonCode.RUN_SPLIT, None, {"requests": 3, "cause": BROKEN.stored()}),
        (
            "the run for 3 requests failed (unlearn: ValueError; the worker's log has the details); "
            "each is tried by itself"
        ),
    ),
    (
        Reason(ReasonCode.RUN_SPLIT, None, {"requests": 2, "cause": _LOST.in_each_of(3).stored()}),
        "the run for 2 requests failed (the worker stopped answering, 3 times); each is tried by itself",
    ),
    (_GATE, "; ".join(sentence for _, sentence in OBJECTIONS)),
    (Reason(ReasonCode.WORKER_STOPPED), "the worker was stopped"),
    (_LOST, "the worker stopped answering"),
    (_LOST.in_each_of(3), "the worker stopped answering, 3 times"),
    (
        Reason(ReasonCode.PROCESS_KILLED, None, {"signal": "SIGKILL"}),
        "the worker's process was killed by SIGKILL",
    ),
    (
        Reason(ReasonCode.PROCESS_KILLED, None, {"signal": "SIGSEGV"}).in_each_of(3),
        "the worker's process was killed by SIGSEGV, 3 times",
    ),
    (Reason(ReasonCode.PROCESS_EXITED, None, {"status": 7}), "the worker's process ended with exit code 7"),
    (
        Reason(ReasonCode.PROCESS_STALLED, None, {"seconds": 600.0}),
        "the worker's process told of no progress for 0:10:00",
    ),
    (
        Reason(ReasonCode.TIMED_OUT, None, {"seconds": 90000.5}),
        "the run took longer than 1 day, 1:00:00.500000, as long as one may take; a retry begins anew",
    ),
    (
        Reason(ReasonCode.OUT_OF_MEMORY, Phase.UNLEARN),
        "unlearn: out of memory on the device; use a larger one, then retry",
    ),
    (
        Reason(ReasonCode.DISK_FULL, Phase.PUBLISH),
        "publish: a disk has no room left; make some, then retry",
    ),
    (Reason(ReasonCode.STORAGE_FULL, Phase.EVALUATE), "evaluate: The artifact store has no room left."),
    (
        Reason(ReasonCode.IMAGES_MISSING, Phase.LOAD),
        "load: The images are not in the artifact store; restore it from a backup, then retry.",
    ),
    (
        Reason(ReasonCode.IMAGES_UNREADABLE, Phase.LOAD),
        "load: The images cannot be decoded: their file is damaged; restore it from a backup, then retry.",
    ),
    (
        Reason(ReasonCode.MASTER_KEY_CHANGED, Phase.LOAD),
        "load: It cannot be decrypted: this is not the master key of when it was stored; restore it, then retry.",
    ),
    (
        Reason(ReasonCode.ENCRYPTED_FILE_ALTERED, Phase.LOAD),
        "load: It cannot be decrypted: the file was altered; restore it from a backup, then retry.",
    ),
    (
        Reason(ReasonCode.CHECKPOINT_ALTERED, Phase.LOAD),
        "load: The stored checkpoint is not the one that was registered; restore it from a backup, then retry.",
    ),
    (
        Reason(ReasonCode.EVALUATION_SET_ALTERED, Phase.LOAD),
        "load: A stored evaluation set is not the one that was registered; restore it from a backup, then retry.",
    ),
    (
        Reason(ReasonCode.ANCHORS_ALTERED, Phase.LOAD),
        "load: The stored anchors are not those that were registered; restore them from a backup, then retry.",
    ),
    (BROKEN, "unlearn: ValueError; the worker's log has the details"),
]
"""What the words of earlier releases say beyond doubt."""

FREE = [
    (Reason(ReasonCode.DECLINED, None, {"text": "not {our} customer; retried"}), "not {our} customer; retried"),
    (
        Reason(ReasonCode.INPUT_UNUSABLE, Phase.LOAD, {"detail": "A row of `emb` is zero."}),
        "load: A row of `emb` is zero.",
    ),
]
"""Reasons whose words may be any."""
