"""Reference models that a deletion request names: which may be one, and what is told of them."""

import numpy as np
import pytest

from tests.service.given import CLASSES, PREPROCESSING, checkpoint, problem, row
from tests.service.given_certificates import MEASURED, PROVENANCE, REFERENCES, statement
from tests.service.given_jobs import Jobs


def options(*references):
    """Attacks that compare with these, named as `model/version`."""
    pairs = (name.split("/") for name in references)
    return {"references": [{"model": model, "version": int(version)} for model, version in pairs]}


@pytest.fixture
def others(client):
    """The model that is to forget, and two more."""
    for name in ("pets", "others", "more"):
        client.model_with_version(name)
    return client


def refused(answer, *places):
    """Check that these references are refused, and no others; why."""
    body = problem(answer, 422, "invalid-input", *(f"#/options/references/{at}" for at in places))
    return [error["detail"] for error in body["errors"]]


def test_a_job_has_them_in_one_order(others):
    """So that requests that name the same ones can share a run."""
    others.version("others")
    asked = [
        others.deletion_request(options=options(*named)).json()
        for named in (("others/2", "more/1", "others/1"), ("more/1", "others/1", "others/2"))
    ]
    jobs = [others.get(one["links"]["job"]).json() for one in asked]
    assert [job["options"]["references"] for job in jobs] == [
        options("more/1", "others/1", "others/2")["references"]
    ] * 2
    assert asked[0]["references"] == jobs[0]["references"] == []  # nothing has run yet


def test_what_cannot_be_one_is_refused_before_anything_is_kept(others, database, kept):
    """Each with a pointer to its place, and why."""
    for name in ("cars", "grey"):
        others.model(name)
    others.version("cars", classes=CLASSES[::-1])
    others.version(
        "grey",
        files={"checkpoint": checkpoint(**{"conv1.weight": np.zeros((16, 1, 3, 3), np.float32)})},
        architecture={"name": "cifar_resnet8", "in_channels": 1},
        preprocessing=PREPROCESSING | {"mean": [0.5], "std": [0.5]},
    )
    others.deletion_request(model="more")
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim())
    for disposition in ("quarantined", "deleted"):
        number = others.version("others").json()["number"]
        others.put(f"/v1/models/others/versions/{number}/disposition", json={"disposition": disposition})
    before = kept()
    named = ("others/1", "pets/1", "nobody/1", "others/9", "cars/1", "grey/1", "more/2", "others/2", "others/3")
    assert refused(others.deletion_request(options=options(*named)), *range(1, 9)) == [
        "is a version of the very model, and may have learned the images",
        "there is no such version",
        "there is no such version",
        "must have the classes of the model, in the same order",
        "must take images of as many channels as the model",
        "came out of a run; a reference is as it was trained",
        "is quarantined",
        "is deleted",
    ]
    assert kept() == before


def test_of_another_tenant_there_is_none(others, database):
    """Whatever it is called, and though it is there."""
    others.signs_in(database, tenant="another")
    others.model_with_version()
    assert refused(others.deletion_request(options=options("others/1")), 0) == ["there is no such version"]


@pytest.mark.parametrize("named", [{"subject_id": "jane"}, {"sample_ids": ["1"]}])
def test_one_that_has_learned_what_is_to_be_forgotten_is_refused(others, photograph, named):
    """By its manifest: the same record, or another one of the person."""
    others.manifest(row("1", uri=photograph("1.png", 1)))
    others.manifest(row("1", subject="", uri=photograph("1.png", 1)), version="others/versions/1")
    others.manifest(row("2", subject="jane" if "subject_id" in named else "jo"), version="more/versions/1")
    asked = others.forget(**named, options=options("others/1", "more/1"))
    wrong = {"has a training manifest that holds what is to be forgotten"}
    assert set(refused(asked, *((0, 1) if "subject_id" in named else (0,)))) == wrong


@pytest.mark.parametrize(
    ("references", "place"),
    [
        ([{"model": "others", "version": 1}] * 2, ""),
        ([{"model": "others", "version": at} for at in range(1, 18)], ""),
        ([{"model": "others"}], "/0/version"),
        ([{"model": "others", "version": "1"}], "/0/version"),
        ([{"model": "others/1", "version": 1}], "/0/model"),
        (["others/1"], "/0"),
    ],
)
def test_they_are_named_as_described(others, references, place):
    answer = others.deletion_request(options={"references": references})
    problem(answer, 422, "invalid-input", f"#/options/references{place}")


def test_a_version_may_be_deleted_though_a_request_names_it(others):
    """What is to be destroyed does not wait for an attack on another model."""
    assert others.deletion_request(options=options("others/1")).status_code == 202
    disposed = others.put("/v1/models/others/versions/1/disposition", json={"disposition": "deleted"})
    assert disposed.json()["disposition"] == "deleted"


@pytest.fixture
def compared(client, database):
    """A request that has ended, whose run had two references, one of them gone."""
    client.model_with_version()
    asked = client.deletion_request().json()
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim(), measured=MEASURED, provenance=PROVENANCE | {"references": REFERENCES})
    return client.get(asked["links"]["self"]).json()


def test_the_request_and_its_job_say_which_were_compared_with(client, compared):
    """And why one was not."""
    assert compared["references"] == [
        {"model": "others", "version": 1, "sha256": "d" * 64, "left_out": None},
        {"model": "others", "version": 2, "sha256": "e" * 64, "left_out": "deleted"},
    ]
    assert client.get(compared["links"]["job"]).json()["references"] == compared["references"]


def test_the_certificate_names_them_and_says_whose_word_it_is(client, compared):
    """That they have never learned the images is not measured."""
    about = statement(client.get(compared["links"]["certificate"]).content)["predicate"]
    assert about["references"] == REFERENCES
    assert "the word of whoever named" in about["statement_of_limits"][-1]
    page = client.get(compared["links"]["certificate"], headers={"Accept": "text/html"}).text
    for fact in ("Reference model others/1", "d" * 64, "left out (deleted)", "LiRA", "RMIA"):
        assert fact in page
