from itertools import product

import pytest

from service.registry.job_queue.state_machine import IllegalMove, check_move, may_move
from service.registry.states import ENDED, State

LEGAL = {
    ("received", "awaiting_approval"),
    ("received", "queued"),
    ("received", "cancelled"),
    ("awaiting_approval", "queued"),
    ("awaiting_approval", "rejected"),
    ("awaiting_approval", "cancelled"),
    ("queued", "running"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "completed"),
    ("running", "needs_review"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("failed", "queued"),
}


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_every_pair_of_states_is_decided(before, after):
    """The whole table, legal and not."""
    if (before, after) in LEGAL:
        check_move(before, after)
    else:
        with pytest.raises(IllegalMove, match=f"{before} -> {after}"):
            check_move(before, after)


def test_an_end_is_an_end():
    """Only a failure leads back, by a retry."""
    assert {s for s in ENDED if any(may_move(s, after) for after in State)} == {State.FAILED}
    assert not any(all(not may_move(s, after) for after in State) for s in State if s not in ENDED)
