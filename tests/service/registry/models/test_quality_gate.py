import math

import pytest
from pydantic import ValidationError

from service.registry.models.quality_gate import GateMeasurements, Policy, objections
from service.registry.options import Options
from service.registry.reasons import Reason

GOOD = {
    "forget_accuracy": 100.0,
    "robust_forget_accuracy": 90.0,
    "membership_advantage": 0.05,
    "test_accuracy_before": 90.0,
    "test_accuracy_after": 88.0,
    "collapse": 0.1,
    "finite": True,
}
EXACT, VIEWS = Options(scope="exact"), Options(scope="views")
INDISTINGUISHABLE = Options(goal="indistinguishable")


@pytest.mark.parametrize("options", [EXACT, VIEWS, INDISTINGUISHABLE])
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
        ({"finite": False, "collapse": 2.0, "test_accuracy_after": 0.0}, 3),
    ],
)
def test_each_limit_is_held(options, changed, count):
    """At the limit passes, beyond it does not, and what is no number never does; whatever the goal."""
    assert len(objections(Policy(), options, GateMeasurements(**(GOOD | changed)))) == count


@pytest.mark.parametrize(
    ("options", "changed", "count"),
    [
        (EXACT, {"forget_accuracy": 99.9}, 1),
        (EXACT, {"forget_accuracy": math.nan}, 1),
        (EXACT, {"robust_forget_accuracy": 0.0}, 0),
        (EXACT, {"membership_advantage": 0.5}, 0),
        (EXACT, {"membership_advantage": None}, 0),
        (VIEWS, {"robust_forget_accuracy": 80.0}, 0),
        (VIEWS, {"robust_forget_accuracy": 79.9}, 1),
        (VIEWS, {"robust_forget_accuracy": math.nan}, 1),
        (VIEWS, {"robust_forget_accuracy": 0.0, "forget_accuracy": 0.0}, 2),
        (INDISTINGUISHABLE, {"forget_accuracy": 0.0, "robust_forget_accuracy": 0.0}, 0),
        (INDISTINGUISHABLE, {"membership_advantage": 0.1}, 0),
        (INDISTINGUISHABLE, {"membership_advantage": 0.101}, 1),
        (INDISTINGUISHABLE, {"membership_advantage": math.nan}, 1),
    ],
)
def test_what_a_goal_asks_for_is_reached(options, changed, count):
    """Each goal and scope has its own measure of success, and no other."""
    assert len(objections(Policy(), options, GateMeasurements(**(GOOD | changed)))) == count


def test_a_goal_that_nothing_was_measured_for_needs_review():
    """Without unseen images nobody knows what the images would have to look like."""
    (reason,) = objections(Policy(), INDISTINGUISHABLE, GateMeasurements(**(GOOD | {"membership_advantage": None})))
    assert "at least 100 images" in str(reason)


def test_the_limits_are_the_model_s_own():
    """Looser or tighter than the defaults."""
    loose = Policy(min_robust_forget_accuracy=50, max_membership_advantage=0.3)
    assert objections(loose, VIEWS, GateMeasurements(**(GOOD | {"robust_forget_accuracy": 50.0}))) == []
    assert objections(loose, INDISTINGUISHABLE, GateMeasurements(**(GOOD | {"membership_advantage": 0.3}))) == []


def test_all_reasons_together_fit_into_the_table():
    """The column holds 500 characters, and PostgreSQL refuses more."""
    bad = GateMeasurements(**dict.fromkeys(GOOD, math.nan) | {"finite": False, "membership_advantage": None})
    for options in (VIEWS, INDISTINGUISHABLE):
        assert len(str(Reason.gate(objections(Policy(), options, bad)))) < 500


@pytest.mark.parametrize(
    "policy",
    [
        {"max_collapse": 2.1},
        {"max_collapse": math.nan},
        {"max_test_accuracy_drop": -1},
        {"min_robust_forget_accuracy": 101},
        {"max_membership_advantage": 0.51},
        {"x": 1},
    ],
)
def test_a_policy_has_sensible_limits(policy):
    """In range, finite, and of known names."""
    with pytest.raises(ValidationError):
        Policy(**policy)


def test_the_published_profile_is_used_as_published():
    """It forgets exact images, by having them misclassified."""
    assert Options(profile="paper").resolved_scope() == "exact"
    for option in ({"scope": "views"}, {"goal": "indistinguishable"}):
        with pytest.raises(ValidationError, match="paper"):
            Options(profile="paper", **option)


def test_options_from_before_the_second_goal_mean_the_first():
    """Jobs that wait keep their meaning."""
    assert Options.model_validate({"profile": "default", "scope": None, "seed": 0}).goal == "misclassify"
