"""What it means that something in a certificate is not as it was: which of it may have changed since, and which not."""

import pytest

from service.registry.crypto.canonical_json import leaves
from worker.recompute.certified_records import certified_facts
from worker.recompute.remeasure import compare_values

VERSION = {"name": "pets/1", "digest": {"sha256": "a"}, "state": "presumed", "disposition": "kept", "aliases": ["live"]}
STATEMENT = {
    "subject": [{"digest": {"sha256": "b"}}],
    "predicate": {
        "measurements": {},
        "statement_of_limits": [],
        "issued": "2026-03-02T10:15:30Z",
        "forget_set": {"count": 20_000, "images": {"disposition": "to be destroyed", "at": "2026-03-02T10:15:30Z"}},
        "parent": {"disposition": "kept", "at": None},
        "gate": {"objections": []},
        "reach": {"basis": "descent", "versions": [VERSION, VERSION | {"name": "pets/2"}]},
        "audit": {"chain_height": 7, "head_sha256": "c"},
        "method": {"parameters": {"lr": 0.01}},
        "environment": {"worker": {"torch": "2.10.0"}},
    },
}


def verdicts(*changes, was=STATEMENT):
    """What is not the same once these places hold something else; nothing: they are gone."""
    certified = dict(leaves(certified_facts(was)))
    now = {place: it for place, it in (certified | dict(changes)).items() if it is not ...}
    return {one.place: one.verdict for one in compare_values(certified, now, 1e-4) if one.verdict != "same"}


def test_what_is_the_same_is_told_so():
    assert verdicts() == {}
    assert verdicts(("method.parameters.lr", 0.01000001)) == {}


@pytest.mark.parametrize(
    ("place", "now"),
    [
        ("forget_set.images.disposition", "destroyed"),
        ("forget_set.images.at", "2026-04-02T10:15:30Z"),
        ("parent.disposition", "deleted"),
        ("parent.at", "2026-04-02T10:15:30Z"),
        ("reach.versions.pets/1.state", "unlearned"),
        ("reach.versions.pets/1.disposition", "quarantined"),
        ("reach.versions.pets/1.aliases.0", ...),
        ("reach.versions.pets/1.aliases.1", "old"),
        ("reach.versions.pets/3.digest.sha256", "d"),
    ],
)
def test_what_may_change_has_changed_since(place, now):
    """Images are destroyed, versions are deleted, aliases move, requests are made, versions come."""
    assert verdicts((place, now)) == {place: "changed since it was issued"}


@pytest.mark.parametrize(
    ("place", "now"),
    [
        ("subject.0.digest.sha256", "d"),
        ("forget_set.count", 20_001),  # within the tolerance, if it were measured
        ("audit.chain_height", None),
        ("audit.head_sha256", "d"),
        ("reach.basis", "training manifests"),
        ("reach.versions.pets/1.name", ...),
        ("reach.versions.pets/1.state", ...),
        ("reach.versions.pets/1.disposition", ...),
        ("reach.versions.pets/1.digest.sha256", "d"),
        ("method.parameters.lr", 0.0101),
    ],
)
def test_what_cannot_change_differs(place, now):
    """Nor can a version that was reached cease to be."""
    assert verdicts((place, now)) == {place: "differs"}


def test_what_is_destroyed_or_deleted_stays_so():
    said = STATEMENT["predicate"]
    gone = said | {
        "forget_set": {"images": {"disposition": "destroyed", "at": "2026-03-02T10:15:30Z"}},
        "parent": {"disposition": "deleted", "at": "2026-03-02T10:15:30Z"},
    }
    for place in ("forget_set.images.disposition", "forget_set.images.at", "parent.disposition", "parent.at"):
        assert verdicts((place, "kept"), was=STATEMENT | {"predicate": gone}) == {place: "differs"}


def test_another_environment_is_told_and_contradicts_nothing():
    assert verdicts(("environment.worker.torch", "2.11.0")) == {"environment.worker.torch": "another environment"}
