"""What two versions are measured to be, side by side."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from safetensors.torch import save

from service.registry.access import api_keys
from service.registry.job_queue import claims
from service.registry.storage.artifacts import Artifacts
from tests.service.given import CLASSES, png
from tests.service.given_jobs import Jobs
from tests.worker.given_runs import FEW, add_anchors
from worker.job import attempt
from worker.job.progress_report import ProgressReport
from worker.networks.cifar_resnet import cifar_resnet
from worker.settings import WorkerSettings
from worker.unlearning import DEFAULT

SMALL = {"size": [8, 8], "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def compared(client):
    """Each measurement of two versions: of the first, of the second, and the change."""

    def compare(first, second):
        metrics = client.get(f"/v1/models/pets/versions/{first}/compare/{second}").json()["metrics"]
        return {one["name"]: (one["first"], one["second"], one["change"]) for one in metrics}

    return compare


@pytest.fixture
def work(client, database, settings, monkeypatch):
    """Run the next job as the worker does, in this process; a network that knows nothing needs few surrogates."""
    monkeypatch.setattr(attempt, "DEFAULT", replace(DEFAULT, **FEW))
    artifacts, own = Artifacts(settings.data_dir), WorkerSettings(data_dir=settings.data_dir, device="cpu")

    def run():
        with database.write() as session:
            claim = claims.take(session, worker="w", lease=timedelta(hours=1))
        attempt.run(database, artifacts, own, claim, ProgressReport(database, claim))

    with database.write() as session:
        add_anchors(session, artifacts, api_keys.ensure_tenant(session, "acme").id, CLASSES)
    return run


def test_what_a_real_run_forgot_is_compared(client, work, compared):
    """From the upload of a network to the comparison over HTTP, with nothing in between made up."""
    torch.manual_seed(0)
    network = cifar_resnet(8, num_classes=len(CLASSES)).eval()
    client.model()
    assert client.version(files={"checkpoint": save(network.state_dict())}, preprocessing=SMALL).status_code == 201
    with torch.no_grad():
        image = (torch.full((1, 3, 8, 8), 1 / 255) - 0.5) / 0.25
        known = int(network(image).argmax())
    (anchors,) = client.get("/v1/anchor-sets").json()["items"]
    options = {"scope": "exact", "encoder": "precomputed", "anchor_set": anchors["id"]}
    accepted = client.deletion_request(png(1), labels=[known], options=options).json()
    work()

    measured = client.get(accepted["links"]["self"]).json()["metrics"]
    assert (measured["before"]["forget_accuracy"], measured["after"]["forget_accuracy"]) == (0, 100)
    metrics = compared(1, 2)
    assert metrics["forget_accuracy"] == (0, 100, 100)
    before, after = (measured[when]["robust_forget_accuracy"] for when in ("before", "after"))
    assert metrics["robust_forget_accuracy"] == (before, after, after - before)


def test_what_is_of_images_is_of_one_run_where_one_made_the_other(client, jobs, compared):
    """Else each version has what its own run measured, and an uploaded one has nothing."""
    client.model_with_version()
    for n in (1, 2, 3):
        client.deletion_request(png(n), labels=["cat"])
        jobs.publish(
            jobs.claim(),
            parent_metrics={"test_accuracy": 92.0},
            metrics={"test_accuracy": 92.0 - n},
            measured={
                "before": {"forget_accuracy": float(n), "test_accuracy": 93.0 - n},
                "after": {"forget_accuracy": 100.0 - n, "test_accuracy": 92.0 - n},
            },
        )
    client.version(parent=4)
    forget = {
        pair: compared(*pair)["forget_accuracy"] for pair in ((1, 2), (2, 1), (2, 3), (1, 3), (2, 2), (2, 4), (4, 5))
    }
    assert forget == {
        (1, 2): (1, 99, 98),
        (2, 1): (99, 1, -98),
        (2, 3): (2, 98, 96),
        (1, 3): (None, 98, None),
        (2, 2): (99, 99, 0),
        (2, 4): (99, 97, None),
        (4, 5): (97, None, None),
    }
    assert compared(1, 3)["test_accuracy"] == (92, 90, -2)


def test_images_that_others_brought_to_the_run_count_for_its_version(client, jobs, compared):
    """A request's own share of the run is the request's."""
    client.model_with_version()
    accepted = client.deletion_request().json()
    run = {"before": {"forget_accuracy": 5.0}, "after": {"forget_accuracy": 90.0}}
    own = {"before": {"forget_accuracy": 0.0}, "after": {"forget_accuracy": 100.0}}
    jobs.publish(jobs.claim(), measured=run, own_metrics={uuid.UUID(accepted["id"]): own})
    assert client.get(accepted["links"]["self"]).json()["metrics"] == own
    assert compared(1, 2)["forget_accuracy"] == (5, 90, 85)
