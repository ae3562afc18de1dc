"""What several deletion requests together come to, in the words of OpenDSR."""

import pytest

from service.registry.states import RequestStatus, State
from service.registry.webhooks.opendsr_status import outcome_of, status_of


@pytest.mark.parametrize(
    ("states", "status", "outcome"),
    [
        ("", "completed", "nothing_to_do"),
        ("queued", "pending", None),
        ("queued awaiting_approval", "pending", None),
        ("queued cancelled", "pending", None),
        ("queued running", "in_progress", None),
        ("queued completed", "in_progress", None),
        ("running", "in_progress", None),
        ("completed", "completed", "completed"),
        ("completed completed", "completed", "completed"),
        ("failed", "in_progress", "failed"),
        ("completed failed", "in_progress", "failed"),
        ("queued failed", "in_progress", "failed"),
        ("completed needs_review", "cancelled", "needs_review"),
        ("completed rejected", "cancelled", "rejected"),
        ("rejected needs_review", "cancelled", "needs_review"),
        ("cancelled", "cancelled", "cancelled"),
        ("cancelled completed", "cancelled", "cancelled"),
    ],
)
def test_a_status_is_what_its_deletion_requests_come_to(states, status, outcome):
    """Never `completed` where something went wrong, and never ended while something can still be tried."""
    given = [State(state) for state in states.split()]
    assert (status_of(given), outcome_of(given)) == (status, outcome)
    assert (status_of(given[::-1]), outcome_of(given[::-1])) == (status, outcome)


def test_completed_means_that_nothing_else_happened():
    """Over every pair of states."""
    for one in State:
        for other in State:
            if status_of([one, other]) is RequestStatus.COMPLETED:
                assert one is other is State.COMPLETED
