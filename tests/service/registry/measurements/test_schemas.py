"""What was measured of a request and of a version is its own, or else what a run measured."""

from service.registry.measurements.schemas import of_request, of_version

OF_RUN = {
    "before": {"forget_accuracy": 1.0, "test_accuracy": 90.0},
    "after": {"forget_accuracy": 99.0, "test_accuracy": 89.0},
}


def test_a_request_that_shared_its_run_has_its_own_images_measured():
    own = {"before": {"forget_accuracy": 0.0}, "after": {"forget_accuracy": 100.0}}
    assert of_request(own, OF_RUN) == {
        "before": {"forget_accuracy": 0.0, "test_accuracy": 90.0},
        "after": {"forget_accuracy": 100.0, "test_accuracy": 89.0},
    }
    assert of_request(None, OF_RUN) == OF_RUN
    assert of_request(None, {}) == {}


def test_a_version_has_what_the_run_that_made_it_measured_after():
    """What could not be measured of it by itself is as missing as what was never tried."""
    assert of_version({"test_accuracy": 88.0, "retain_accuracy": None}, OF_RUN) == OF_RUN["after"] | {
        "test_accuracy": 88.0
    }
    assert of_version({"test_accuracy": None}, OF_RUN, "before") == OF_RUN["before"]
    assert of_version({"test_accuracy": 88.0}, None) == {"test_accuracy": 88.0}
