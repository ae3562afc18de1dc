"""Aliases, tags, families and comparisons of versions."""

import numpy as np
import pytest
from safetensors.numpy import save

from service.registry.models.architectures import Architecture, expected_tensors
from tests.service.given import checkpoint, problem, tensors
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL


@pytest.fixture
def jobs(database):
    return Jobs(database)


def test_an_alias_names_a_version_and_can_be_moved(client):
    """A version is found by number, by alias and as the latest; what points to it is in its answer."""
    client.model_with_version()
    client.version()
    made = client.put("/v1/models/pets/aliases/production", json={"version": 1})
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (201, 1, '"1"')
    assert client.get("/v1/models/pets/versions/@production").json()["aliases"] == ["production"]
    assert client.get("/v1/models/pets/versions/latest").json()["number"] == 2
    moved = client.put("/v1/models/pets/aliases/production", json={"version": 2})
    assert (moved.status_code, moved.json()["version"]) == (200, 2)
    assert client.get("/v1/models/pets/versions/@production/checkpoint").content == checkpoint()
    assert [item["name"] for item in client.get("/v1/models/pets/aliases").json()["items"]] == ["production"]
    assert client.delete("/v1/models/pets/aliases/production").status_code == 204
    problem(client.get("/v1/models/pets/versions/@production"), 404, "not-found")
    problem(client.delete("/v1/models/pets/aliases/production"), 404, "not-found")


def test_an_alias_is_moved_only_from_where_it_was_seen(client):
    """`If-Match` and `If-None-Match` keep two people from overwriting each other."""
    client.model_with_version()
    client.version()
    path = "/v1/models/pets/aliases/production"
    problem(client.put(path, json={"version": 1}, headers={"If-Match": '"1"'}), 412, "precondition-failed")
    assert client.put(path, json={"version": 1}, headers={"If-None-Match": "*"}).status_code == 201
    problem(client.put(path, json={"version": 2}, headers={"If-None-Match": "*"}), 412, "precondition-failed")
    problem(client.put(path, json={"version": 2}, headers={"If-Match": '"9"'}), 412, "precondition-failed")
    problem(client.put(path, json={"version": 2}, headers={"If-Match": "x"}), 412, "precondition-failed")
    assert client.put(path, json={"version": 2}, headers={"If-Match": '"1"'}).json()["version"] == 2


def test_an_alias_needs_a_version_that_exists(client):
    """And a name that is one."""
    client.model_with_version()
    problem(client.put("/v1/models/pets/aliases/a", json={"version": 7}), 422, "invalid-input", "#/version")
    problem(client.put("/v1/models/pets/aliases/A!", json={"version": 1}), 404, "not-found")
    for reference in ("0", "-1", "@", "@A", "newest", "9" * 10):
        problem(client.get(f"/v1/models/pets/versions/{reference}"), 404, "not-found")


def test_a_version_that_passes_takes_over_the_aliases_that_follow_the_gate(client, jobs):
    """Those on its parent; one that stays was made so, and a version that needs review moves nothing."""
    client.model_with_version()
    for name, follows in (("production", True), ("pinned", False)):
        client.put(f"/v1/models/pets/aliases/{name}", json={"version": 1, "follows_gate": follows})
    client.deletion_request()
    jobs.publish(jobs.claim(), A_TEST_FELL)
    assert client.get("/v1/models/pets/versions/2").json()["aliases"] == []
    client.deletion_request()
    claim = jobs.claim()
    jobs.publish(claim)
    aliases = {item["name"]: item for item in client.get("/v1/models/pets/aliases").json()["items"]}
    assert {name: item["version"] for name, item in aliases.items()} == {"production": 3, "pinned": 1}
    assert aliases["production"]["moved_by"] == f"job:{claim.job_id}"
    assert client.get("/v1/models/pets/versions/1").json()["children"] == [2, 3]


def test_a_version_that_needs_review_gets_an_alias_only_from_somebody_who_says_so(client, jobs):
    """By hand, and on purpose."""
    client.model_with_version()
    client.deletion_request()
    jobs.publish(jobs.claim(), A_TEST_FELL)
    path = "/v1/models/pets/aliases/production"
    problem(client.put(path, json={"version": 2}), 409, "gate-not-passed")
    assert client.put(path, json={"version": 2, "override_gate": True}).status_code == 201


def test_tags_are_the_owners(client):
    """Set, changed, taken away; fifty are enough."""
    client.model_with_version()
    path = "/v1/models/pets/versions/1/tags"
    client.put(f"{path}/team/stage", json={"value": "shadow"})
    tagged = client.put(f"{path}/team/stage", json={"value": "live"}).json()
    assert tagged["tags"] == client.get("/v1/models/pets/versions/1").json()["tags"] == {"team/stage": "live"}
    assert client.delete(f"{path}/team/stage").json()["tags"] == {}
    assert client.delete(f"{path}/team/stage").status_code == 200
    for at in range(50):
        assert client.put(f"{path}/t{at}", json={"value": ""}).status_code == 200
    problem(client.put(f"{path}/t50", json={"value": ""}), 422, "invalid-input", "#/tags")


def test_two_versions_are_compared_number_by_number(client):
    """One tensor moved from 3·(1, 1, …) by a hundredth of it, in every entry."""
    client.model()
    name, shape = next((name, value.shape) for name, value in tensors().items() if name == "linear.weight")
    client.version(files={"checkpoint": checkpoint(**{name: np.full(shape, 3.0, np.float32)})})
    client.version(files={"checkpoint": checkpoint(**{name: np.full(shape, 3.03, np.float32)})}, parent=1)
    found = client.get("/v1/models/pets/versions/1/compare/latest").json()
    assert (found["first"]["number"], found["second"]["number"], found["relation"]) == (1, 2, "parent")
    assert client.get("/v1/models/pets/versions/2/compare/1").json()["relation"] == "child"
    changed = found["parameters"]
    assert changed["parameters"] == sum(value.size for value in tensors().values())
    assert (changed["tensors_changed"], changed["parameters_changed"]) == (1, np.prod(shape))
    assert changed["farthest"] == [
        {"name": name, "shape": list(shape), "relative_change": pytest.approx(0.01, rel=1e-4)}
    ]
    same = client.get("/v1/models/pets/versions/1/compare/1").json()
    assert (same["relation"], same["parameters"]["tensors_changed"]) == ("same", 0)


def test_a_larger_network_is_compared_too(client):
    """Tensors that only one of the versions has, and those of another shape, differ."""
    client.model_with_version()
    deeper = Architecture(name="cifar_resnet20")
    wanted = expected_tensors(deeper, num_classes=3, image_size=(32, 32))
    weights = {name: np.zeros(want.shape, np.int64 if want.integer else np.float16) for name, want in wanted.items()}
    assert client.version(files={"checkpoint": save(weights)}, architecture={"name": deeper.name}).status_code == 201
    only_there = wanted.keys() - tensors().keys()
    found = client.get("/v1/models/pets/versions/1/compare/2").json()["parameters"]
    assert found["tensors"] == len(wanted.keys() | tensors().keys())
    assert found["tensors_changed"] == len(only_there) > 0
    assert {change["name"] for change in found["farthest"]} <= only_there
    back = client.get("/v1/models/pets/versions/2/compare/1").json()["parameters"]
    assert (back["tensors"], back["tensors_changed"]) == (found["tensors"], len(only_there))
    assert back["parameters_changed"] == sum(weights[name].size for name in only_there)


def test_metrics_are_compared_where_both_were_measured(client, jobs):
    """Nothing is made up for what was not."""
    client.model_with_version()
    client.deletion_request()
    jobs.publish(jobs.claim(), parent_metrics={"test_accuracy": 91.0}, metrics={"test_accuracy": 90.5, "collapse": 0.1})
    metrics = {m["name"]: m for m in client.get("/v1/models/pets/versions/1/compare/2").json()["metrics"]}
    assert metrics["test_accuracy"]["change"] == -0.5
    assert (metrics["collapse"]["first"], metrics["collapse"]["change"]) == (None, None)
