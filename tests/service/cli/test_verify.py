"""`structguard verify`: what it accepts, and every way in which it must not."""

import hashlib
import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from service.registry.crypto import dsse, signing_keys
from service.registry.crypto.canonical_json import sha256
from service.registry.evidence.certificate_verification import File, verify
from service.registry.evidence.statement import LIMITS, PREDICATE, STATEMENT
from service.registry.settings import RegistrySettings

REQUEST, OTHER, JOB = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
PARENT = b"the version before"


def statement(model, parent, request=REQUEST):
    parameters = {"lr": 0.01, "seed": 0}
    return {
        "_type": STATEMENT,
        "subject": [{"name": "digits/2/model.safetensors", "digest": {"sha256": sha(model)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "request_ids": [request],
            "received": "2026-03-02T10:15:30Z",
            "completed": "2026-03-02T10:15:47Z",
            "run": {"job": JOB, "requests": 1},
            "parent": {"name": "digits/1", "digest": {"sha256": sha(parent)}},
            "method": {"parameters": parameters, "parameters_sha256": sha256(parameters)},
            "gate": {"result": "PASSED", "policy": None, "policy_sha256": None},
            "statement_of_limits": list(LIMITS),
        },
    }


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def signer(tmp_path):
    return signing_keys.signer(RegistrySettings(data_dir=tmp_path / "data"))


@pytest.fixture
def model():
    origin = {"job": JOB, "parent_sha256": sha(PARENT)}
    return save({"weight": np.arange(64, dtype=np.float32)}, {"structguard": json.dumps(origin)})


@pytest.fixture
def files(tmp_path, signer, model):
    """A certificate, the model that it is about, the version before, and the key."""
    contents = {
        "certificate.json": dsse.sign(statement(model, PARENT), signer),
        "model.safetensors": model,
        "parent.safetensors": PARENT,
        "key.pem": signer.public.pem.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


def verify_arguments(files, **changed):
    paths = files | changed
    return ("verify", paths["certificate.json"], paths["model.safetensors"], "--key", paths["key.pem"])


def test_it_says_in_plain_words_what_a_certificate_proves_and_what_not(structguard, files):
    """Signature, file, request, parent and digests; and that it trusts the key that it was given."""
    ran = structguard(*verify_arguments(files), "--request", REQUEST, "--parent", files["parent.safetensors"])
    assert ran.code == 0, ran.out
    assert ran.out.count("yes  ") == 6
    words = " ".join(ran.out.split())
    assert "What this proves:" in words
    assert "What it does not prove:" in words
    assert LIMITS[0] in words
    assert "who gave you the key has to be trusted" in words
    document = structguard(*verify_arguments(files), "--request", REQUEST, "--json").document
    assert document["verified"] is True
    assert {one["check"] for one in document["findings"]} == {"signature", "parameters", "request", "model", "origin"}


def test_no_byte_of_a_certificate_can_be_changed(files, signer):
    """All of them, each in two ways: signed bytes, base64, JSON, and the name of the key."""
    whole = files["certificate.json"].read_bytes()
    accepted = []
    for at in range(len(whole)):
        for change in (0x01, 0x20):
            changed = bytearray(whole)
            changed[at] ^= change
            if verify(bytes(changed), signer.public).holds:
                accepted.append((at, change))
    assert len(whole) > 1500
    assert accepted == []
    for more in (b"\n", b" ", b"\0"):
        assert not verify(whole + more, signer.public).holds
    assert not verify(whole[:-1], signer.public).holds


def test_no_byte_of_the_model_can_be_changed(structguard, files):
    """Sampled: header, metadata, weights."""
    whole = files["model.safetensors"].read_bytes()
    for at in (0, 8, 40, len(whole) // 2, len(whole) - 1):
        files["model.safetensors"].write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        ran = structguard(*verify_arguments(files), "--json")
        assert ran.code == 8
        assert [one["check"] for one in ran.document["findings"] if not one["holds"]] == ["model"]


def test_a_key_that_has_not_signed_is_refused(structguard, files, tmp_path):
    """Also if the certificate is made to name it."""
    other = signing_keys.signer(RegistrySettings(data_dir=tmp_path / "other"))
    files["key.pem"].write_text(other.public.pem)
    ran = structguard(*verify_arguments(files))
    assert ran.code == 8
    assert "another key" in ran.out
    assert "Do not rely on it" in ran.out
    envelope_ = json.loads(files["certificate.json"].read_bytes())
    envelope_["signatures"][0]["keyid"] = other.key_id
    files["certificate.json"].write_text(json.dumps(envelope_, separators=(",", ":"), sort_keys=True))
    ran = structguard(*verify_arguments(files))
    assert ran.code == 8
    assert "not of this key" in ran.out


def test_a_certificate_of_another_request_or_model_is_refused(structguard, files, signer, model, tmp_path):
    """It is genuine, and not what was asked about."""
    assert structguard(*verify_arguments(files), "--request", OTHER).code == 8
    another = tmp_path / "another.safetensors"
    another.write_bytes(save({"weight": np.zeros(4, np.float32)}))
    assert structguard(*verify_arguments(files, **{"model.safetensors": another})).code == 8
    assert structguard(*verify_arguments(files), "--parent", another).code == 8


def test_a_statement_that_contradicts_itself_or_the_file_is_refused(signer, model):
    """Its digests are computed again, and what the file says of its run and parent is compared."""
    signed_statement = statement(model, PARENT)
    signed_statement["predicate"]["method"]["parameters"]["lr"] = 0.02
    assert not verify(dsse.sign(signed_statement, signer), signer.public).holds
    signed_statement = statement(model, b"another parent")
    origin = {"job": JOB, "parent_sha256": sha(PARENT)}
    verdict = verify(dsse.sign(signed_statement, signer), signer.public, model=File(sha(model), origin))
    assert [one.check for one in verdict.findings if not one.holds] == ["origin"]


def test_a_signed_statement_of_another_kind_is_no_certificate(signer, model):
    """Whatever else the key may have signed."""
    signed_statement = statement(model, PARENT) | {"predicateType": "https://slsa.dev/provenance/v1"}
    verdict = verify(dsse.sign(signed_statement, signer), signer.public)
    assert (verdict.holds, verdict.statement) == (False, None)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"payload": 1}'])
def test_what_is_no_certificate_is_called_so(structguard, files, content):
    """Without a traceback."""
    files["certificate.json"].write_bytes(content)
    ran = structguard(*verify_arguments(files))
    assert ran.code == 8
    assert "not a certificate of ours" in ran.out


def test_it_needs_no_server_no_settings_and_no_worker(files):
    """A process of its own, which could not even load torch."""
    code = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'structguard'; from service.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, verify_arguments(files))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=files["key.pem"].parent)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in files["key.pem"].parent.iterdir()} == {*files, "data"}


def test_the_keys_are_looked_after_by_the_command_line(structguard, tmp_path, monkeypatch):
    """Listed, rotated, exported; what the old one has signed can still be checked. The service made the first one."""
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path / "data"))
    signing_keys.signer(RegistrySettings())
    first = structguard("signing-keys", "list", "--json").document["items"]
    assert [one["is_current"] for one in first] == [True]
    second = structguard("signing-keys", "rotate", "--json").document["id"]
    listed = structguard("signing-keys", "list", "--json").document["items"]
    assert [one["id"] for one in listed] == [second, first[0]["id"]]
    assert structguard("signing-keys", "export").out.startswith("-----BEGIN PUBLIC KEY-----")
    assert structguard("signing-keys", "export", first[0]["id"], "-o", tmp_path / "old.pem").code == 0
    assert (tmp_path / "old.pem").read_text() == first[0]["pem"]
    assert structguard("signing-keys", "export", "0" * 64).code == 1


def test_a_year_and_a_bundle_are_fetched_from_the_service(structguard, server, tmp_path):
    """The figures as words and as JSON; of a request that does not exist there is no bundle."""
    figures = structguard("report", "gdpr", "--year", datetime.now(UTC).year, "--server", server, "--json").document
    assert figures["regulation"] == "gdpr"
    assert "received: " in structguard("report", "--server", server).out
    target = Path(tmp_path, "bundle.zip")
    assert structguard("evidence", OTHER, "-o", target, "--server", server).code == 3
    assert list(tmp_path.glob("bundle*")) == []
