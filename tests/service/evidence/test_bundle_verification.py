"""A bundle of evidence as somebody checks it who has it and a key: what is accepted, and what must not be."""

import io
import json
import random
import zipfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from service.cli.commands import app
from service.registry.audit import audit_log, checkpoints
from service.registry.crypto import dsse, signing_keys
from service.registry.evidence.bundle_manifest import MANIFEST, SIGNED, with_manifest
from service.registry.evidence.bundle_verification import verify
from service.registry.evidence.reproducible_zip import unzipped, zipped
from service.registry.settings import RegistrySettings
from tests.service.given_certificates import all_measured, ended, statement
from tests.service.given_jobs import Jobs

CHECKS = [
    *("archive", "files", "signature", "parameters", "request"),
    *("audit", "history", "issued", "head", "measurements"),
]


@pytest.fixture
def signer(client, settings):
    return signing_keys.signer(settings)


@pytest.fixture
def keys(signer):
    return {signer.key_id: signer.public}


@pytest.fixture
def request_(client, database):
    """A request that has passed the gate."""
    client.model_with_version()
    return ended(client, database, measured=all_measured())


def fetched(client, request):
    answer = client.get(f"/v1/deletion-requests/{request['id']}/evidence")
    assert answer.status_code == 200
    return answer.content


def again(files, request, signer):
    """A bundle of other files, by somebody who has the private key."""
    kept = [(name, content) for name, content in files.items() if name not in (MANIFEST, SIGNED)]
    return b"".join(zipped(with_manifest(kept, request["id"], signer)))


def wrong(content, keys, **more):
    """What does not hold."""
    return [one.check for one in verify(content, keys, **more).findings if not one.holds]


def test_a_bundle_as_it_was_written_is_verified(client, request_, keys):
    """Its bytes, files, certificate and piece of the audit log, and that these agree."""
    found = verify(fetched(client, request_), keys)
    assert [one.check for one in found.findings] == CHECKS
    assert found.holds, found.findings
    assert found.statement["predicate"]["request_ids"] == [request_["id"]]


def test_no_byte_of_a_bundle_can_be_changed(client, request_, keys):
    """Nor those of the zip that nobody looks at. All bytes outside of the larger files, and a sample within."""
    whole = fetched(client, request_)
    chosen = set(range(len(whole)))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        for entry in archive.infolist():
            begin = whole.index(archive.read(entry), entry.header_offset)
            inner = range(begin + 20, begin + entry.file_size - 20)
            chosen -= set(random.Random(0).sample(inner, max(0, len(inner) - 25)))
    assert len(chosen) > 2000
    accepted = [at for at in chosen if verify(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], keys).holds]
    assert accepted == []
    for other in (whole + b"\0", b"\0" + whole, whole[:-1], b"", b"PK"):
        assert wrong(other, keys) == ["archive"]


def test_the_same_files_in_another_zip_are_refused(client, request_, keys):
    """In another order, compressed, with another time, or twice."""
    files = list(unzipped(fetched(client, request_)).items())
    assert wrong(b"".join(zipped(files[::-1])), keys) == ["files"]
    for change in ({"compression": zipfile.ZIP_DEFLATED}, {}):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", **change) as archive:
            for name, content in files:
                archive.writestr(name, content)
        assert wrong(target.getvalue(), keys) == ["archive"]
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = b"".join(zipped([*files, files[0]]))
    assert wrong(twice, keys) == ["archive"]


def test_no_file_can_be_changed_taken_away_or_added(client, request_, keys):
    """In a zip that is written as it should be, with a manifest that fits or the one that there was."""
    files = unzipped(fetched(client, request_))
    for name in files:
        without = {one: content for one, content in files.items() if one != name}
        assert wrong(b"".join(zipped(without.items())), keys) == ["files"], name
        changed = files | {name: files[name] + b" "}
        assert wrong(b"".join(zipped(changed.items())), keys) == ["files"], name
    assert wrong(b"".join(zipped([*files.items(), ("more.txt", b"")])), keys) == ["files"]
    changed = files | {"request.json": files["request.json"].replace(b"completed", b"cancelled")}
    forged = unzipped(again(changed, request_, _stranger()))
    assert wrong(b"".join(zipped((forged | {SIGNED: files[SIGNED]}).items())), keys) == ["files"]


def _stranger():
    key = Ed25519PrivateKey.generate()
    return signing_keys.Signer(signing_keys.PublicKey.of(key.public_key()), key)


def test_a_key_that_has_not_signed_is_refused(client, request_, keys):
    """Also if it has signed the manifest, and the certificate and the log are of another."""
    whole, other = fetched(client, request_), _stranger()
    assert wrong(whole, {other.key_id: other.public}) == ["files"]
    assert wrong(whole, {}) == ["files"]
    mine = again(unzipped(whole), request_, other)
    assert wrong(mine, {other.key_id: other.public}) == ["signature", "audit"]
    assert wrong(mine, keys) == ["files"]


def test_keys_that_were_rotated_are_given_together(client, settings, request_, keys):
    """The certificate is signed by the old one, the manifest by the new one."""
    fetched(client, request_)
    signing_keys.rotate(settings)
    whole, new = fetched(client, request_), signing_keys.signer(settings)
    assert wrong(whole, {new.key_id: new.public}) == ["signature", "audit"]
    assert wrong(whole, keys) == ["files"]
    assert wrong(whole, keys | {new.key_id: new.public}) == []


def test_pieces_of_another_request_are_noticed(client, database, request_, keys, signer):
    """All of them genuine, and put together by somebody who can sign the manifest."""
    other = unzipped(fetched(client, ended(client, database, measured=all_measured())))
    mine = unzipped(fetched(client, request_))

    def with_its(*names):
        return wrong(again(mine | {name: other[name] for name in names}, request_, signer), keys)

    assert with_its("certificate.json") == ["request", "issued"]  # the head is one of the same log
    assert with_its("audit.json") == ["request", "history", "issued"]
    assert with_its("request.json") == ["request", "history"]
    assert with_its("request.json", "audit.json", "certificate.json") == ["request"]
    assert wrong(again(mine, {"id": json.loads(other["request.json"])["id"]}, signer), keys) == ["request"]


def test_files_that_contradict_each_other_are_noticed(client, request_, keys, signer):
    """Whoever can sign the manifest cannot sign for what was said before."""
    files = unzipped(fetched(client, request_))

    def with_changed(name, change):
        document = json.loads(files[name])
        change(document)
        return wrong(again(files | {name: json.dumps(document).encode()}, request_, signer), keys)

    assert with_changed("request.json", lambda it: it["history"].pop()) == ["history"]
    assert with_changed("request.json", lambda it: it["history"][1].update(at="2020-01-01T00:00:00Z")) == ["history"]
    assert with_changed("request.json", lambda it: it["metrics"]["after"].update(collapse=0.0)) == ["measurements"]
    assert with_changed("audit.json", lambda it: it["pieces"].clear()) == ["audit", "history", "issued", "head"]
    assert with_changed("audit.json", lambda it: it["pieces"][-1]["entries"].pop()) == ["audit"]
    assert with_changed("audit.json", lambda it: it["pieces"].append(it["pieces"][0])) == ["audit"]
    assert with_changed("audit.json", lambda it: it.pop("pieces")) == ["audit"]
    assert with_changed("request.json", lambda it: it.pop("history")) == ["documents"]
    without = {name: content for name, content in files.items() if name != "certificate.json"}
    assert wrong(again(without, request_, signer), keys) == ["issued"]
    said = statement(files["certificate.json"])
    said["predicate"]["audit"]["head_sha256"] = "0" * 64
    forged = files | {"certificate.json": dsse.sign(said, signer)}
    assert wrong(again(forged, request_, signer), keys) == ["issued", "head"]


def test_the_head_that_the_certificate_names_is_shown_wherever_it_stands(client, database, request_, keys, signer):
    """Behind a head that was signed meanwhile, so that no entry about the request is near it."""
    with database.read() as session:
        tenant_id = audit_log.unchained_tenants(session)[0]
    for _ in range(2):
        with database.write() as session:
            audit_log.chain(session, tenant_id)
            checkpoints.sign(session, tenant_id, signer)
            audit_log.append(session, tenant_id, "api_key.created")
    with database.write() as session:
        audit_log.chain(session, tenant_id)
    client.get(request_["links"]["certificate"])
    with database.write() as session:
        audit_log.append(session, tenant_id, "api_key.created")
        audit_log.chain(session, tenant_id)
    files = unzipped(fetched(client, request_))
    assert wrong(again(files, request_, signer), keys) == []
    pieces = json.loads(files["audit.json"])["pieces"]
    height = statement(files["certificate.json"])["predicate"]["audit"]["chain_height"]
    assert height in [entry["height"] for piece in pieces for entry in piece["entries"]]


@pytest.mark.parametrize("state", ["queued", "failed"])
def test_a_request_without_a_certificate_has_a_bundle_that_is_verified(client, database, keys, state):
    """The audit log says that none was issued."""
    client.model_with_version()
    accepted = client.deletion_request().json()
    if state == "failed":
        by_hand = Jobs(database)
        by_hand.fail(by_hand.claim())
    found = verify(fetched(client, accepted), keys)
    assert found.holds, found.findings
    assert "No certificate was issued, says the audit log." in [one.says for one in found.findings]


def test_the_command_says_what_is_proved_and_what_not(client, request_, keys, tmp_path):
    """Exit code 0 or 8; with the checkpoint, with the request, as words and as JSON."""
    bundle, pem, model = tmp_path / "bundle.zip", tmp_path / "key.pem", tmp_path / "model.safetensors"
    bundle.write_bytes(fetched(client, request_))
    pem.write_text(next(iter(keys.values())).pem)
    model.write_bytes(client.get(request_["links"]["checkpoint"]).content)

    def ran(*more):
        return CliRunner().invoke(app, ["verify-bundle", str(bundle), "--key", str(pem), *map(str, more)])

    said = ran()
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    for part in ("What this proves:", "What it does not prove:", "The certificate in it:", "nobody has changed them"):
        assert part in words
    document = json.loads(ran("--json", "--request", request_["id"]).output)
    assert document["verified"] is True
    checked = ran(model, "--json").output
    assert "model" in {one["check"] for one in json.loads(checked)["findings"]}
    assert ran("--request", "7d2a9c54-61f0-4d3e-9f0b-3a1c5e8b2d47").exit_code == 8
    model.write_bytes(b"another")
    assert ran(model).exit_code == 8
    other = signing_keys.signer(RegistrySettings(data_dir=tmp_path / "other"))
    pem.write_text(other.public.pem)
    refused = ran()
    assert refused.exit_code == 8
    assert "Do not rely on it" in refused.output
    pem.write_text("no key")
    assert ran().exit_code == 1
