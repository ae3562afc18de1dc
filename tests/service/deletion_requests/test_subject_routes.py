"""Who has learned from a person, who still knows them, and who was trained on them again."""

import json
import logging

import pytest
from sqlalchemy import select

from service.registry.access.scopes import Scope
from service.registry.tables import Base
from tests.service.given import png, problem, row
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def photograph(settings):
    (settings.manifest_root / "jane.png").write_bytes(png(7))
    return f"file://{settings.manifest_root}/jane.png"


def states(items):
    return {(item["model"], item["number"]): item["state"] for item in items}


def reach(client, subject="jane"):
    answer = client.post("/v1/subjects/reach", json={"subject_id": subject})
    assert answer.status_code == 200
    return states(answer.json()["items"])


@pytest.fixture
def family(client, photograph):
    """Jane in two models: of `pets` version 1 and what descends from it, not the stranger 3; in `faces` otherwise."""
    client.model_with_version()
    client.version()
    client.version(parent=1)
    client.manifest(row("a", uri=photograph), row("b", subject="otto"))
    client.put("/v1/models/pets/aliases/production", json={"version": 3})
    client.model_with_version("faces")
    client.manifest(row("z", uri=photograph), version="faces/versions/1")
    return client


def test_a_subject_reaches_every_version_that_descends_from_their_records(family, kept):
    """In every model, with the aliases that point there. Asking changes nothing."""
    before = kept()
    items = family.post("/v1/subjects/reach", json={"subject_id": "jane"}).json()["items"]
    assert [(item["model"], item["number"], item["aliases"]) for item in items] == [
        ("faces", 1, []),
        ("pets", 1, []),
        ("pets", 3, ["production"]),
    ]
    assert {item["state"] for item in items} == {"needs_unlearning"}
    assert family.get(items[2]["links"]["version"]).status_code == 200
    assert reach(family, "nobody") == {}
    assert kept() == before


def test_a_request_tells_what_it_reaches_from_beginning_to_end(family, jobs):
    """Pending while it is under way, for its model only; then what came of it has unlearned, and nothing else has."""
    accepted = family.forget(subject_id="jane").json()
    pending = {("faces", 1): "needs_unlearning", ("pets", 1): "pending", ("pets", 3): "pending"}
    here = accepted["links"]["self"]
    assert states(accepted["reach"]) == states(family.get(here).json()["reach"]) == reach(family) == pending

    jobs.publish(jobs.claim())
    family.version(parent=4)
    done = {
        ("faces", 1): "needs_unlearning",
        ("pets", 1): "needs_unlearning",
        ("pets", 3): "needs_unlearning",
        ("pets", 4): "unlearned",
        ("pets", 5): "unlearned",
    }
    assert states(family.get(here).json()["reach"]) == reach(family) == done
    by_alias = {item["number"]: item["aliases"] for item in family.get(here).json()["reach"] if item["model"] == "pets"}
    assert by_alias[4] == ["production"]  # it follows the gate


def test_what_did_not_pass_has_not_unlearned(family, jobs):
    """Nor has what was withdrawn or has failed."""
    for end in (
        lambda _: jobs.publish(jobs.claim(), A_TEST_FELL),
        lambda request: family.post(request["links"]["cancel"]),
        lambda _: jobs.fail(jobs.claim()),
    ):
        end(family.forget(subject_id="jane").json())
        assert set(reach(family).values()) == {"needs_unlearning"}


def test_records_named_one_by_one_count_for_their_subject(client, jobs, photograph, settings):
    """Once all of them are: each run forgets its own, and what comes of the last one knows none."""
    (settings.manifest_root / "b.png").write_bytes(png(8))
    client.model_with_version()
    client.manifest(row("a", uri=photograph), row("b", uri=f"file://{settings.manifest_root}/b.png"))
    client.forget(sample_ids=["a"])
    assert reach(client) == {("pets", 1): "needs_unlearning"}
    second = client.forget(sample_ids=["b"]).json()
    assert states(second["reach"]) == reach(client) == {("pets", 1): "pending"}
    jobs.publish(jobs.claim())
    assert reach(client)[("pets", 2)] == "pending"
    jobs.publish(jobs.claim())
    assert reach(client)[("pets", 3)] == "unlearned"


def test_records_that_nobody_has_asked_about_are_still_known(family, jobs, photograph):
    """A manifest that came later tells of more; one of a descendant, that it was learned again."""
    family.forget(subject_id="jane")
    jobs.publish(jobs.claim())
    family.version(parent=4)
    family.manifest(row("a", uri=photograph), version="pets/versions/5")
    assert {at: state for at, state in reach(family).items() if at[1] > 3} == {
        ("pets", 4): "unlearned",
        ("pets", 5): "needs_unlearning",
    }
    family.manifest(row("new", uri=photograph), version="pets/versions/1", name="later")
    assert reach(family)[("pets", 4)] == "needs_unlearning"


def test_images_that_were_sent_reach_nobody_knows_where(family):
    """Nothing, rather than an empty list."""
    accepted = family.deletion_request().json()
    assert accepted["reach"] is None
    assert family.get(accepted["links"]["self"]).json()["reach"] is None


def test_a_later_manifest_says_how_many_of_its_records_are_suppressed(family, photograph):
    """By record or by subject, of any model; the version says so, too. Earlier ones are what the request is about."""
    accepted = family.forget(subject_id="jane").json()
    family.version("faces")
    again = [row("a", subject=""), row("new"), row("b", subject="otto"), row("c", subject="otto")]
    made = family.manifest(*again, version="faces/versions/2")
    assert (made.status_code, made.json()["suppressed_records"]) == (201, 2)
    assert family.get("/v1/models/faces/versions/2").json()["suppressed_records"] == 2
    assert family.get("/v1/models/faces/versions").json()["items"][1]["suppressed_records"] == 0
    assert family.get("/v1/models/pets/versions/1").json()["suppressed_records"] == 0

    listed = family.get("/v1/suppressions").json()["items"]
    assert sorted(item["kind"] for item in listed) == ["record", "subject"]
    assert {(item["request"], len(item["hmac"])) for item in listed} == {(accepted["id"], 12)}
    first = family.get("/v1/suppressions", params={"limit": 1}).json()
    second = family.get("/v1/suppressions", params={"limit": 1, "cursor": first["next"]}).json()
    assert first["items"] + second["items"] == listed


def test_tenants_have_nothing_of_each_other(family, database, photograph):
    """The same person in the data of two is two people: other pseudonyms, no reach, no suppression."""
    family.forget(subject_id="jane")
    family.signs_in(database, tenant="other")
    assert reach(family) == {}
    assert family.get("/v1/suppressions").json()["items"] == []
    family.model_with_version()
    assert family.manifest(row("a", uri=photograph)).json()["suppressed_records"] == 0
    assert reach(family) == {("pets", 1): "needs_unlearning"}


def test_asking_takes_the_scope_of_a_reader(family, database):
    """Whoever may look at models only may not ask about people."""
    family.signs_in(database, Scope.MODELS_READ)
    problem(family.post("/v1/subjects/reach", json={"subject_id": "jane"}), 403, "scope-missing")
    problem(family.get("/v1/suppressions"), 403, "scope-missing")


def test_no_identifier_leaves_the_request(client, database, settings, caplog):
    """Not into any column, log line, answer or error, whether it goes well or not."""
    caplog.set_level(logging.DEBUG)
    canary = "canary-jane-doe"
    image = settings.manifest_root / f"{canary}.png"
    image.write_bytes(png(3))
    good = row(f"{canary}-1", subject=canary, uri=f"file://{image}")
    keyed = {"headers": {"Idempotency-Key": "k"}}
    client.model_with_version()
    answers = [
        client.manifest(good, row(f"{canary}-2", subject=f"{canary}-lost", uri=f"file://{image}.gone")),
        client.manifest(good, good, row(canary, label=canary, uri=canary), name="bad"),
        client.manifest(name="bad", content=f"sample_id,{canary}\n".encode()),
        client.post("/v1/deletion-requests", json={"model": "pets", "subject_id": canary}, **keyed),
        client.post("/v1/deletion-requests", json={"model": "pets", "subject_id": f"{canary}-x"}, **keyed),
        client.forget(sample_ids=[f"{canary}-1"]),
        client.forget(sample_ids=[f"{canary}-3"]),
        client.forget(subject_id=f"{canary}-lost"),
        client.forget(subject_id=canary, sample_ids=[canary]),
        client.forget(subject_id=canary, model=canary, wrong=canary),
        client.forget(subject_id=[canary]),
        client.post("/v1/subjects/reach", json={"subject_id": canary}),
        client.post("/v1/subjects/reach", json={"subject": canary}),
        client.get("/v1/suppressions"),
        client.get("/v1/models/pets/versions/1/manifests"),
        client.get("/v1/deletion-requests"),
    ]
    codes = [201, 422, 422, 202, 422, 202, 422, 422, 422, 422, 422, 200, 422, 200, 200, 200]
    assert [answer.status_code for answer in answers] == codes
    assert not any(canary in answer.text + str(answer.headers) for answer in answers)
    assert "cannot be fetched" in answers[7].text
    assert canary not in caplog.text
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for columns in session.execute(select(table)):
                assert canary not in json.dumps(list(columns), default=repr), table.name
