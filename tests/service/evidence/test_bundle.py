"""The evidence of a request as one file."""

import hashlib
import io
import json
import zipfile

import pytest

from service.registry.audit import inclusion_proof
from service.registry.audit.hash_chain import Broken
from service.registry.crypto import dsse
from service.registry.crypto.signing_keys import PublicKey
from service.registry.states import Phase
from tests.service.evidence.test_certificates import PROMISES
from tests.service.given_certificates import MEASURED, ended
from tests.service.given_jobs import Jobs


def bundle(client, link):
    answer = client.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return answer.content, {name: archive.read(name) for name in archive.namelist()}


def keys_in(files):
    keys = [PublicKey.read(content) for name, content in files.items() if name.startswith("signing-keys/")]
    return {key.key_id: key for key in keys}


def test_it_holds_all_that_there_is_to_show_about_a_request(client, database):
    """With every file's digest, and a text that explains each."""
    client.model_with_version()
    accepted = client.deletion_request().json()
    by_hand = Jobs(database)
    claim = by_hand.claim()
    points = [(step, {"forget_accuracy": 50.0 * step, "collapse": 0.01 * step}) for step in range(3)]
    by_hand.progress(claim, phase=Phase.UNLEARN, step=2, total=2, points=points)
    by_hand.publish(claim, measured=MEASURED)
    request = client.get(accepted["links"]["self"]).json()
    _, files = bundle(client, request["links"]["evidence"])

    digests = json.loads(files["manifest.json"])["sha256"]
    assert digests == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if not name.startswith("manifest.")
    }
    readme = files["README.txt"].decode()
    for name in files:
        assert (name if "/" not in name else name.partition("/")[0]) in readme, name
    assert json.loads(files["request.json"]) == request
    assert json.loads(files["job.json"])["seconds"] == {"load": 0.5}
    assert json.loads(files["curves.json"])[2] == {"step": 2, "forget_accuracy": 100.0, "collapse": 0.02}
    assert files["curves.svg"].count(b'class="line"') == 2
    keys = keys_in(files)
    certificate = files["certificate.json"]
    predicate = dsse.verify(certificate, keys[dsse.key_id(certificate)])["predicate"]
    assert predicate["request_ids"] == [request["id"]]
    assert files["certificate.pdf"].startswith(b"%PDF-")
    assert request["id"] in files["certificate.html"].decode()
    assert not PROMISES.search(readme)
    shown = inclusion_proof.verify(json.loads(files["audit.json"]), keys)
    events = [json.loads(entry)["event"] for entry in shown.entries]
    assert events.count("deletion_request.moved") == 4
    assert events[-1] == "certificate.issued"
    disposition = json.loads(files["disposition.json"])
    assert disposition["images"]["disposition"] == "to be destroyed"
    assert disposition["parent"]["name"] == "pets/1"
    assert [one["name"] for one in disposition["reach"]["versions"]] == ["pets/1", "pets/2"]


def test_it_is_the_same_bytes_as_long_as_nothing_has_changed(client, database):
    """Whoever asks again can compare digests."""
    client.model_with_version()
    request = ended(client, database)
    first, _ = bundle(client, request["links"]["evidence"])
    assert bundle(client, request["links"]["evidence"])[0] == first


def test_a_request_that_came_to_nothing_has_one_too(client, database):
    """Without a certificate, with the reason and who declined what."""
    client.post("/v1/models", json={"name": "pets", "approval_required": True})
    client.version()
    accepted = client.deletion_request().json()
    client.signs_in(database)
    client.post(f"{accepted['links']['self']}/reject", json={"reason": "not theirs"})
    request = client.get(accepted["links"]["self"]).json()
    _, files = bundle(client, request["links"]["evidence"])
    assert "certificate.json" not in files
    approvals = json.loads(files["approvals.json"])
    assert approvals["required"] is True
    assert [(one["after"], one["reason"]) for one in approvals["decisions"]] == [("rejected", "not theirs")]
    assert files["curves.svg"].startswith(b"<svg")


def test_the_piece_of_the_audit_log_is_checked_without_the_log(client, database):
    """Whoever changes an entry in it is found out."""
    client.model_with_version()
    _, files = bundle(client, ended(client, database)["links"]["evidence"])
    keys = keys_in(files)
    proof = json.loads(files["audit.json"])
    assert len(inclusion_proof.verify(proof, keys).entries) > 4
    with pytest.raises(Broken):
        inclusion_proof.verify(proof, {})
    for at, entry in enumerate(proof["pieces"][0]["entries"]):
        changed = json.loads(files["audit.json"])
        changed["pieces"][0]["entries"][at]["entry"] = entry["entry"].replace("a", "b", 1)
        with pytest.raises(Broken):
            inclusion_proof.verify(changed, keys)
