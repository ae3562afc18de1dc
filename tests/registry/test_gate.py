import math

import pytest
from pydantic import ValidationError

from service.registry.gate import Measured, Policy, objections

GOOD = {
    "forget_accuracy": 100.0,
    "test_accuracy_before": 90.0,
    "test_accuracy_after": 88.0,
    "collapse": 0.1,
    "finite": True,
}


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({}, 0),
        ({"test_accuracy_after": 85.0}, 0),
        ({"test_accuracy_after": 84.99}, 1),
        ({"test_accuracy_after": 95.0}, 0),
        ({"test_accuracy_after": math.nan}, 1),
        ({"test_accuracy_before": None, "test_accuracy_after": None, "collapse": None}, 0),
        ({"collapse": 0.25}, 0),
        ({"collapse": 0.251}, 1),
        ({"collapse": math.nan}, 1),
        ({"finite": False}, 1),
        ({"forget_accuracy": 99.9}, 1),
        ({"forget_accuracy": math.nan}, 1),
        ({"forget_accuracy": 0.0, "finite": False, "collapse": 2.0, "test_accuracy_after": 0.0}, 4),
    ],
)
def test_each_limit_is_held(changed, count):
    """At the limit passes, beyond it does not, and what is no number never does."""
    assert len(objections(Policy(), Measured(**(GOOD | changed)))) == count


@pytest.mark.parametrize(
    "policy", [{"max_collapse": 2.1}, {"max_collapse": math.nan}, {"max_test_accuracy_drop": -1}, {"x": 1}]
)
def test_a_policy_has_sensible_limits(policy):
    """In range, finite, and of known names."""
    with pytest.raises(ValidationError):
        Policy(**policy)
