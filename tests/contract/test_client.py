"""A client that was generated from the description does what the README does with curl."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.contract.fuzz import new_sqlite_database
from tests.contract.serving import serving
from tests.service import given
from tests.service.given_jobs import Jobs

CONFIG = Path(__file__).parents[2] / "service/openapi/client.yaml"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with new_sqlite_database(folder) as database, serving(database, folder / "data") as service:
        yield service, database


@pytest.fixture(scope="module")
def api(served, tmp_path_factory):
    """The generated package, which is asked for its modules by name."""
    folder = tmp_path_factory.mktemp("generated")
    generate = [f"{sys.exec_prefix}/bin/openapi-python-client", "generate", "--fail-on-warning", "--config", CONFIG]
    description = folder / "openapi.json"
    # The generator would give the first answer five seconds, in which a busy machine has not put it together.
    description.write_bytes(httpx.get(f"{served[0].address}/openapi.json", timeout=60).content)
    done = subprocess.run(
        [*generate, "--path", description, "--output-path", folder / "project"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{sys.exec_prefix}/bin:{os.environ['PATH']}"},  # it formats with ruff
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder / "project"))
    yield lambda name: importlib.import_module(f"structguard_client{name}")
    sys.path.remove(str(folder / "project"))


@pytest.fixture
def client(api, served):
    connection = api("").AuthenticatedClient(
        base_url=served[0].address, token=served[0].key, raise_on_unexpected_status=True
    )
    with connection as client:
        yield client


def test_a_model_is_registered_and_images_are_forgotten(api, client, served):
    """Model, version, evaluation set, deletion request, poll until it has ended, and the checkpoint that came of it."""
    models, types = api(".models"), api(".types")

    def file(content, name):
        return types.File(payload=given.io.BytesIO(content), file_name=name)

    model = api(".api.models.register_model").sync(client=client, body=models.NewModel(name="birds"))
    assert model.name == "birds"
    version = api(".api.versions.register_version").sync(
        "birds",
        client=client,
        body=models.BodyRegisterVersion(
            metadata=models.NewVersion.from_dict(given.VERSION), checkpoint=file(given.checkpoint(), "w.safetensors")
        ),
    )
    assert (version.number, version.classes) == (1, given.CLASSES)
    holdout = api(".api.evaluation_sets.add_evaluation_set").sync(
        "birds",
        client=client,
        body=models.BodyAddEvaluationSet(
            metadata=models.NewEvaluationSet.from_dict({"name": "holdout", "kind": "test", "labels": ["cat", 1]}),
            images=[file(given.png(5), "a.png"), file(given.png(6), "b.png")],
        ),
    )
    assert holdout.count == 2

    ask = models.BodySubmitDeletionRequest(
        metadata=models.NewDeletionRequest.from_dict({"model": "birds", "labels": ["cat", "dog"]}),
        images=[file(given.png(1), "1.png"), file(given.png(2), "2.png")],
    )
    answer = api(".api.deletion_requests.submit_deletion_request").sync_detailed(
        client=client, body=ask, idempotency_key="birds-1"
    )
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/deletion-requests/{answer.parsed.id}")

    read = api(".api.deletion_requests.read_deletion_request").sync
    assert read(answer.parsed.id, client=client).state == models.State.QUEUED
    jobs = Jobs(served[1])
    while read(answer.parsed.id, client=client).state == models.State.QUEUED:  # behind those that were there before
        jobs.publish(jobs.claim(), metrics={"forget_accuracy": 100.0})
    ended = read(answer.parsed.id, client=client)
    assert (ended.state, ended.version) == (models.State.COMPLETED, 2)
    made = api(".api.versions.read_version").sync("birds", "2", client=client)
    assert made.metrics.forget_accuracy == 100.0
    weights = api(".api.versions.download_checkpoint").sync_detailed("birds", "2", client=client)
    assert weights.content == given.checkpoint()


def test_pages_follow_each_other(api, client, served):
    """With the `next` of each as the cursor of the one after."""
    page = api(".api.deletion_requests.list_deletion_requests").sync
    found, cursor = [], api(".types").UNSET
    while cursor is not None:
        listing = page(client=client, limit=2, cursor=cursor)
        found += [item.id for item in listing.items]
        cursor = listing.next_
    assert len(found) == len(set(found)) >= 4


def test_problems_are_parsed(api, client, served):
    """With what is wrong, and where."""
    models = api(".models")
    register = api(".api.models.register_model").sync
    taken = register(client=client, body=models.NewModel(name="pets"))
    assert (taken.status, taken.type_) == (409, "/problems/name-taken")
    invalid = register(client=client, body=models.NewModel(name="Pets!"))
    assert [error.pointer for error in invalid.errors] == ["#/name"]
    with api("").AuthenticatedClient(base_url=served[0].address, token="sg_0_0") as stranger:
        assert api(".api.models.list_models").sync(client=stranger).status == 401
