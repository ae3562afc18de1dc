"""How things are said."""

from datetime import UTC, datetime, timedelta

import pytest

from service.dashboard import wording
from service.dashboard.failures import explain
from service.registry.states import State

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (timedelta(days=3, hours=5), "due in 3 days"),
        (timedelta(hours=1), "due in 1 hour"),
        (timedelta(minutes=-40), "overdue by 40 minutes"),
        (timedelta(seconds=-0.5), "overdue by a moment"),
    ],
)
def test_deadlines(ahead, told):
    assert wording.until(NOW + ahead, NOW) == told


@pytest.mark.parametrize(
    ("value", "digits", "told"),
    [
        (None, 2, "–"),
        (98.99, 2, "98.99"),
        (100.0, 2, "100"),
        (-0.5, 2, "−0.5"),
        (-0.001, 2, "0"),
        (12345.6, 1, "12,345.6"),
    ],
)
def test_numbers(value, digits, told):
    assert wording.number(value, digits) == told


def test_changes_have_a_sign():
    assert [wording.signed(value) for value in (0.5, 0.0, -0.5, None)] == ["+0.5", "0", "−0.5", "–"]


def test_every_state_has_a_word():
    assert wording.STATES.keys() == set(State)


@pytest.mark.parametrize(
    ("reason", "phase", "what", "advice"),
    [
        (
            "load: The images are not in the artifact store; restore it from a backup, then retry.",
            *("load", "The images are not in the artifact store.", "Restore it from a backup, then retry."),
        ),
        (
            "the worker stopped answering, 3 times",
            None,
            "The worker stopped answering, 3 times.",
            "Look whether the workers",
        ),
        ("unlearn: ValueError; the worker's log has the details", "unlearn", "ValueError.", "Read the worker's log"),
        (
            "the worker's process was killed by SIGKILL, 3 times",
            None,
            "The worker's process was",
            "Look at the worker's log",
        ),
        ("evaluate: something", "evaluate", "Something.", "Mend what it names"),
        (None, None, "No reason was written down.", "Mend what it names"),
    ],
)
def test_failures_are_explained(reason, phase, what, advice):
    failure = explain(reason)
    assert failure.phase == phase
    assert failure.what.startswith(what)
    assert failure.advice.startswith(advice)
