"""How things are said."""

from datetime import UTC, datetime, timedelta

import pytest

from service.dashboard import wording
from service.registry.states import State

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(days=3, hours=5), "due in 3 days"),
        (timedelta(hours=1), "due in 1 hour"),
        (timedelta(minutes=-40), "overdue by 40 minutes"),
        (timedelta(seconds=-0.5), "overdue by a moment"),
    ],
)
def test_deadlines(ahead, expected):
    assert wording.until(NOW + ahead, NOW) == expected


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (None, 2, "–"),
        (98.99, 2, "98.99"),
        (100.0, 2, "100"),
        (-0.5, 2, "−0.5"),
        (-0.001, 2, "0"),
        (12345.6, 1, "12,345.6"),
    ],
)
def test_numbers(value, digits, expected):
    assert wording.number(value, digits) == expected


def test_changes_have_a_sign():
    assert [wording.signed(value) for value in (0.5, 0.0, -0.5, None)] == ["+0.5", "0", "−0.5", "–"]


def test_every_state_has_a_word():
    assert wording.STATES.keys() == set(State)
