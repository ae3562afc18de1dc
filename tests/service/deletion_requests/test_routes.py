import logging
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pytest
from sqlalchemy import select, update

from service.registry.job_queue import claims
from service.registry.states import Phase
from service.registry.tables import Base, Model
from tests.service.given import CLASSES, UNKNOWN, npz, png, problem
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN

# As it was stored before membership and the like were measured, and with them.
METRICS = {
    "before": {"forget_accuracy": 0.0, "test_accuracy": None},
    "after": {
        "forget_accuracy": 100.0,
        "robust_forget_accuracy_by_view": {"flip": 50.0},
        "membership": {
            "unseen": {
                "controls": 397,
                "advantage": 0.5,
                "worst_attack": "loss",
                "attacks": {
                    "loss": {"auc": 0.0, "advantage": 0.5, "tpr_at_1_fpr_high": 0.0, "tpr_at_1_fpr_low": 1.0},
                },
            },
            "unseen_misclassified": None,
        },
        "relearning": {"steps": None, "max_steps": 100, "recovered_others": None},
    },
}


@pytest.fixture
def accepted(client):
    client.model_with_version()
    answer = client.deletion_request()
    assert answer.status_code == 202
    return answer


@pytest.fixture
def run(database):
    """Do with the next job what a worker would."""
    return Jobs(database).claim


@pytest.fixture
def publish(database):
    """Give a claimed job its new version."""
    return partial(Jobs(database).publish, measured=METRICS)


def test_a_request_is_accepted_and_can_be_followed(client, accepted, settings):
    """202 with its place and when to look; GDPR gives one month."""
    body = accepted.json()
    assert accepted.headers["location"] == body["links"]["self"] == f"/v1/deletion-requests/{body['id']}"
    assert accepted.headers["retry-after"] == "5"
    assert (body["state"], body["waiting_on"], body["sample_count"]) == ("queued", "worker", 2)
    assert body["progress"] == {"phase": None, "step": 0, "total": 0, "attempt": 0}
    received, due = (datetime.fromisoformat(body[name]) for name in ("received_at", "due_at"))
    assert timedelta(days=28) <= due - received <= timedelta(days=31)
    assert (settings.data_dir / "samples" / body["id"]).is_file()

    answer = client.get(body["links"]["self"])
    assert answer.headers["retry-after"] == "5"
    assert {**body, "history": answer.json()["history"]} == answer.json()
    assert [move["after"] for move in answer.json()["history"]] == ["received", "queued"]


def test_a_run_is_visible_from_load_to_version(client, accepted, database, run, publish):
    """Progress while it runs, then measurements and the version that came of it."""
    here, job = accepted.headers["location"], accepted.json()["links"]["job"]
    claim = run()
    with database.write() as session:
        points = [(0, {"forget_accuracy": 100.0, "collapse": None}), (5, {"forget_accuracy": 0.0, "collapse": 0.1})]
        claims.record_progress(session, claim, phase=Phase.UNLEARN, step=5, total=10, points=points)
    running = client.get(here).json()
    assert (running["state"], running["waiting_on"]) == ("running", None)
    assert running["progress"] == {"phase": "unlearn", "step": 5, "total": 10, "attempt": 1}
    assert client.get(f"{job}/steps").json()["items"] == [
        {"step": 0, "forget_accuracy": 100.0, "collapse": None},
        {"step": 5, "forget_accuracy": 0.0, "collapse": 0.1},
    ]

    publish(claim)
    answer = client.get(here)
    done = answer.json()
    assert "retry-after" not in answer.headers
    assert (done["state"], done["base_version"], done["version"], done["waiting_on"]) == ("completed", 1, 2, None)
    assert done["metrics"] == METRICS
    assert done["ended_at"] is not None
    assert set(done["links"]) == {
        *("self", "events", "job", "steps", "model", "version", "checkpoint"),
        *("certificate", "evidence"),
    }
    assert client.get(done["links"]["version"]).json()["gate"] == "passed"
    assert client.get(done["links"]["checkpoint"]).status_code == 200
    measured = client.get(job).json()
    assert (measured["state"], measured["seconds"], measured["peak_memory_bytes"]) == ("completed", {"load": 0.5}, 9)
    assert client.get("/v1/jobs").json()["items"] == [measured]


def test_a_version_that_needs_review_waits_for_an_operator(client, accepted, run, publish):
    """It exists, says why, and is not what later versions build on."""
    publish(run(), A_TEST_FELL)
    body = client.get(accepted.headers["location"]).json()
    assert (body["state"], body["reason"], body["waiting_on"]) == ("needs_review", str(A_TEST_FELL), "operator")
    assert client.get(body["links"]["version"]).json()["gate"] == "needs_review"
    assert client.deletion_request().status_code == 202


def test_a_waiting_request_can_be_withdrawn(client, accepted):
    """At once; a second time is too late."""
    cancel = accepted.json()["links"]["cancel"]
    answer = client.post(cancel)
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert "cancel" not in answer.json()["links"]
    problem(client.post(cancel), 409, "past-commit-point")


def test_a_running_request_is_asked_to_stop(client, accepted, database, run):
    """202: the worker hears of it at its next step."""
    claim = run()
    answer = client.post(accepted.json()["links"]["cancel"])
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    with database.write() as session, pytest.raises(claims.CancelRequested):
        claims.record_progress(session, claim, phase=Phase.UNLEARN)


def test_a_completed_request_cannot_be_withdrawn(client, accepted, run, publish):
    """The commit point has passed."""
    publish(run())
    problem(client.post(accepted.json()["links"]["cancel"]), 409, "past-commit-point")


def test_only_a_failed_request_can_be_retried(client, accepted, database, run):
    """Under the same identifier, with its history."""
    retry = f"{accepted.headers['location']}/retry"
    problem(client.post(retry), 409, "not-retriable")
    claim = run()
    with database.write() as session:
        claims.report_failure(session, claim, reason=BROKEN)
    failed = client.get(accepted.headers["location"]).json()
    assert (failed["state"], failed["waiting_on"], failed["links"]["retry"]) == ("failed", "operator", retry)

    answer = client.post(retry)

    assert (answer.status_code, answer.json()["state"], answer.json()["id"]) == (202, "queued", failed["id"])
    history = client.get(accepted.headers["location"]).json()["history"]
    assert [move["after"] for move in history] == ["received", "queued", "running", "failed", "queued"]


def test_requests_are_listed_by_model_and_state(client):
    """Newest first; an unknown model is not found, an unknown state is not valid."""
    client.model_with_version()
    client.model_with_version("cars")
    pets, cars = client.deletion_request().json(), client.deletion_request(model="cars").json()
    client.post(cars["links"]["cancel"])

    def listed(**query):
        return [item["id"] for item in client.get("/v1/deletion-requests", params=query).json()["items"]]

    assert listed() == [cars["id"], pets["id"]]
    assert listed(model="pets") == listed(state="queued") == [pets["id"]]
    assert listed(model="cars", state="queued") == []
    problem(client.get("/v1/deletion-requests?model=cows"), 404, "not-found")
    problem(client.get("/v1/deletion-requests?model=c%00ws"), 422, "invalid-input", "#/model")
    problem(client.get("/v1/deletion-requests?state=lost"), 422, "invalid-input", "#/state")


def test_unknown_requests_and_jobs_are_not_found(client):
    """By reading and by acting, also when the identifier cannot be one."""
    for identifier in (UNKNOWN, "x", "0" * 32 + "g"):
        problem(client.get(f"/v1/deletion-requests/{identifier}"), 404, "not-found")
        problem(client.post(f"/v1/deletion-requests/{identifier}/cancel"), 404, "not-found")
        problem(client.post(f"/v1/deletion-requests/{identifier}/retry"), 404, "not-found")
        problem(client.get(f"/v1/jobs/{identifier}"), 404, "not-found")
        problem(client.get(f"/v1/jobs/{identifier}/steps"), 404, "not-found")


def test_anchors_go_with_the_models_classes(client, kept):
    """An anchor set for other classes is refused before anything is kept."""
    client.model_with_version()

    def anchors(names):
        content = npz(emb=np.eye(3), names=np.array(names))
        return client.upload("/v1/anchor-sets", {"classes": names}, {"anchors": content}).json()["id"]

    ours, others = anchors(CLASSES), anchors(["a", "b", "c"])
    before = kept()
    refused = client.deletion_request(options={"encoder": "precomputed", "anchor_set": others})
    problem(refused, 422, "invalid-input", "#/options/anchor_set")
    assert kept() == before
    answer = client.deletion_request(options={"encoder": "precomputed", "anchor_set": ours})
    assert client.get(answer.json()["links"]["job"]).json()["options"]["anchor_set"] == ours


def test_the_goal_is_the_caller_s_to_choose(client):
    """It reaches the job; the profile `paper` knows one only."""
    client.model_with_version()
    job = client.deletion_request(options={"goal": "indistinguishable"}).json()["links"]["job"]
    assert client.get(job).json()["options"]["goal"] == "indistinguishable"
    refused = client.deletion_request(options={"goal": "indistinguishable", "profile": "paper"})
    problem(refused, 422, "invalid-input", "#/options")


def test_a_policy_from_before_its_newest_limits_gets_their_defaults(client, database):
    """Rows are not migrated for a new limit."""
    client.model()
    with database.write() as session:
        session.execute(update(Model).values(policy={"max_test_accuracy_drop": 3.0, "max_collapse": 0.5}))
    policy = client.get("/v1/models/pets").json()["policy"]
    assert (policy["max_test_accuracy_drop"], policy["min_robust_forget_accuracy"]) == (3, 80)


def test_every_measurement_is_described(client):
    """Down to the last attack."""
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Measurements", "MembershipMeasured", "AttackMeasured", "SimilarityMeasured"):
        assert all("description" in field for field in schemas[name]["properties"].values()), name


def test_no_table_and_no_log_holds_a_file_name(client, database, caplog):
    """People name files after themselves."""
    caplog.set_level(logging.DEBUG)
    client.model_with_version()
    files = [("images", ("jane-doe-canary.png", png(1))), ("images", ("jane-doe-canary.png", png(2)))]
    assert client.upload("/v1/deletion-requests", {"model": "pets", "labels": [0, 1]}, files).status_code == 202
    client.get("/v1/models/jane-doe-canary?cursor=jane-doe-canary")
    with database.read() as session:
        rows = [str(session.execute(select(table)).all()) for table in Base.metadata.sorted_tables]
    service_log = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "python_multipart"))]
    assert any("route=/v1/deletion-requests status=202" in line for line in service_log)
    assert "canary" not in "".join(rows + service_log)


def test_many_failed_requests_are_retried_at_once(client, database):
    """What has not failed, or is another's, is told apart and holds up none of the others."""
    client.model_with_version()
    client.model_with_version("cars")
    jobs = Jobs(database)
    failed = [client.deletion_request(model=name).json()["id"] for name in ("pets", "cars")]
    for _ in failed:
        jobs.fail(jobs.claim())
    waiting = client.deletion_request().json()["id"]
    answer = client.post("/v1/deletion-requests/retry", json={"ids": [failed[0], UNKNOWN, waiting, failed[1]]})
    assert answer.status_code == 202
    assert [(item["id"], item["outcome"]) for item in answer.json()["items"]] == [
        (failed[0], "queued"),
        (UNKNOWN, "not-found"),
        (waiting, "not-retriable"),
        (failed[1], "queued"),
    ]
    assert {client.get(f"/v1/deletion-requests/{one}").json()["state"] for one in failed} == {"queued"}
    problem(client.post("/v1/deletion-requests/retry", json={"ids": []}), 422, "invalid-input", "#/ids")
