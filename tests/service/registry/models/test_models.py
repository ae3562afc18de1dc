import threading
import uuid

import pytest

from service.registry.errors import (
    AnchorSetNotFound,
    EvaluationSetNameTaken,
    EvaluationSetNotFound,
    InvalidInput,
    ModelNotFound,
    VersionNotFound,
)
from service.registry.models import anchor_sets, evaluation_sets, models, versions
from tests.service.registry.given_rows import FILE, VERSION, model_with_version, tenant

SAMPLES = {"samples": "evaluation-sets/x", "sha256": "0" * 64, "size": 1, "count": 1}
ANCHORS = {
    "encoder": "precomputed",
    "encoder_digest": "0" * 64,
    "classes": ["cat", "dog"],
    "descriptions": [],
    "dimension": 4,
    "anchors": "anchor-sets/x",
    "sha256": "0" * 64,
}


def test_what_is_not_there_is_not_found(database):
    """One fact for each kind of thing."""
    with database.write() as session:
        model = model_with_version(session)
        with pytest.raises(ModelNotFound):
            models.find_model(session, tenant(session), "cows")
        with pytest.raises(VersionNotFound):
            versions.find_version(session, model, 2)
        with pytest.raises(EvaluationSetNotFound):
            evaluation_sets.find_evaluation_set(session, model, "x")
        with pytest.raises(AnchorSetNotFound):
            anchor_sets.find(session, tenant(session), uuid.uuid4())


def test_versions_of_one_moment_get_two_numbers(database):
    """Four uploads at once, as many numbers in a row."""
    with database.write() as session:
        model_with_version(session)
    barrier, failures = threading.Barrier(4), []

    def upload():
        barrier.wait()
        try:
            with database.write() as session:
                pets = models.find_model(session, tenant(session), "pets")
                versions.register_version(session, pets, parent=1, **VERSION, **FILE)
        except Exception as error:  # noqa: BLE001  (to be seen by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as session:
        page = versions.list_versions(
            session, models.find_model(session, tenant(session), "pets"), cursor=None, limit=10
        )
        assert sorted(version.number for version in page.items) == [1, 2, 3, 4, 5]
        assert {version.parent.number for version in page.items if version.parent} == {1}


@pytest.mark.parametrize(
    ("changed", "pointer"), [({"parent": 9}, "#/parent"), ({"classes": ["dog", "cat"], "parent": None}, "#/classes")]
)
def test_a_version_fits_to_those_before(database, changed, pointer):
    """Its parent exists, and its classes are theirs."""
    with database.write() as session:
        model = model_with_version(session)
        with pytest.raises(InvalidInput) as caught:
            versions.register_version(session, model, **(VERSION | FILE | changed))
        assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_the_newest_evaluation_set_of_a_kind_is_measured_on(database):
    """One name once per model; the same name is free in another."""
    with database.write() as session:
        model, other = model_with_version(session), model_with_version(session, "cars")
        for name, kind in (("a", "test"), ("b", "test"), ("c", "retain")):
            evaluation_sets.add_evaluation_set(session, model, name=name, kind=kind, **SAMPLES)
        with pytest.raises(EvaluationSetNameTaken):
            evaluation_sets.add_evaluation_set(session, model, name="a", kind="test", **SAMPLES)
        evaluation_sets.add_evaluation_set(session, other, name="a", kind="test", **SAMPLES)
        assert evaluation_sets.newest_evaluation_set(session, model.id, "test").name == "b"
        assert evaluation_sets.newest_evaluation_set(session, model.id, "retain").name == "c"
        assert evaluation_sets.newest_evaluation_set(session, other.id, "retain") is None


def test_anchors_are_kept_once(database):
    """The second of two that computed the same gets the first one's."""
    with database.write() as session:
        first, is_new = anchor_sets.add(session, tenant(session), cache_key="k", **ANCHORS)
        second, is_new_too = anchor_sets.add(session, tenant(session), cache_key="k", **ANCHORS)
        assert (is_new, is_new_too, first.id) == (True, False, second.id)
        assert anchor_sets.cached(session, tenant(session), "k").id == first.id
        assert anchor_sets.cached(session, tenant(session), "other") is None
