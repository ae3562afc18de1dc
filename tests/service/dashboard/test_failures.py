"""What a page makes of a failure."""

import pytest

from service.dashboard.failures import explain
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import Phase
from service.registry.tables import DeletionRequest
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN, FREE, REASONS

#: A request may stand where it does for these, but it has not failed for them.
NO_FAILURES = {
    *(ReasonCode.APPROVED, ReasonCode.DECLINED, ReasonCode.RETRIED, ReasonCode.WITHDRAWN),
    *(ReasonCode.RUN_WITHDRAWN, ReasonCode.RUN_SPLIT),
}
_RESTORE = "Restore it from a backup, then retry."
_DIED = "Look at the worker's log and at the memory of its machine; if both look right, retry."
ADVICE = {
    ReasonCode.GATE_OBJECTED: "Retry. Where the gate objects to what comes of it alone, a version is kept for review.",
    ReasonCode.WORKER_STOPPED: "Workers were stopped while it ran. Retry when they are up again.",
    ReasonCode.WORKER_LOST: "Look whether the workers run and reach the database, then retry.",
    ReasonCode.PROCESS_KILLED: _DIED,
    ReasonCode.PROCESS_EXITED: _DIED,
    ReasonCode.PROCESS_STALLED: _DIED,
    ReasonCode.TIMED_OUT: "A retry begins anew.",
    ReasonCode.OUT_OF_MEMORY: (
        "Give the worker a device with more memory, or lower STRUCTGUARD_BATCH_IMAGES, then retry."
    ),
    ReasonCode.DISK_FULL: "Make some, then retry.",
    ReasonCode.STORAGE_FULL: "Mend what it names, then retry.",
    ReasonCode.IMAGES_MISSING: _RESTORE,
    ReasonCode.IMAGES_UNREADABLE: _RESTORE,
    ReasonCode.MASTER_KEY_CHANGED: "Restore it, then retry.",
    ReasonCode.ENCRYPTED_FILE_ALTERED: _RESTORE,
    ReasonCode.CHECKPOINT_ALTERED: _RESTORE,
    ReasonCode.EVALUATION_SET_ALTERED: _RESTORE,
    ReasonCode.ANCHORS_ALTERED: "Restore them from a backup, then retry.",
    ReasonCode.INPUT_UNUSABLE: "Mend what it names, then retry.",
    ReasonCode.UNEXPECTED_ERROR: "Read the worker's log, mend what it names, then retry.",
}


def test_there_is_advice_for_whatever_a_request_fails_for():
    assert ADVICE.keys() == set(ReasonCode) - NO_FAILURES


@pytest.mark.parametrize("reason", [reason for reason, _ in REASONS + FREE if reason.code not in NO_FAILURES], ids=str)
def test_a_failure_comes_with_its_phase_and_with_what_to_do(reason):
    failure = explain(DeletionRequest(why=reason))
    assert failure.phase == reason.phase
    assert failure.advice == ADVICE[reason.code]


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        (Reason(ReasonCode.IMAGES_MISSING, Phase.LOAD), "The images are not in the artifact store."),
        (Reason(ReasonCode.WORKER_LOST).in_each_of(3), "The worker stopped answering, 3 times."),
        (Reason(ReasonCode.OUT_OF_MEMORY, Phase.UNLEARN), "Out of memory on the device."),
        (BROKEN, "ValueError."),
        (Reason.gate([A_TEST_FELL]), "A_test fell by 9.00 points, 5 are allowed."),
    ],
    ids=str,
)
def test_what_happened_is_a_sentence(reason, what):
    assert explain(DeletionRequest(why=reason)).what == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("evaluate: something; or other", "Evaluate: something; or other."),
        (None, "No reason was written down."),
    ],
)
def test_words_of_an_earlier_release_are_shown_as_they_are(text, what):
    failure = explain(DeletionRequest(reason_text=text))
    assert (failure.phase, failure.what, failure.advice) == (None, what, "Mend what it names, then retry.")
