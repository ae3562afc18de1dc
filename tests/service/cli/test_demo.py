import pytest

from service.cli.demo import succeeded


@pytest.mark.parametrize(
    ("state", "forgotten", "test", "success"),
    [
        ("completed", 100.0, 94.4, True),
        ("completed", 93.75, 99.4, False),
        ("completed", 100.0, 94.0, False),
        ("failed", 100.0, 99.4, False),
    ],
)
def test_the_demo_succeeds_when_all_is_forgotten_at_an_acceptable_price(state, forgotten, test, success):
    """Five points of A_test, as its policy says."""
    metrics = {"before": {"test_accuracy": 99.4}, "after": {"forget_accuracy": forgotten, "test_accuracy": test}}
    assert succeeded({"state": state, "metrics": metrics}) is success


def test_the_demo_wants_a_folder_of_its_own(structguard, tmp_path):
    """Nothing that is somebody's is written to."""
    (tmp_path / "mine").write_text("")
    ran = structguard("demo", "--data", tmp_path)
    assert ran.code == 1
    assert "is not empty" in ran.err
