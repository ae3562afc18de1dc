"""`structguard opendsr-check`: our own server passes, and each check fails where it should."""

import json
import os
import re
import uuid
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from service.cli.client import API_KEY
from service.cli.exits import Exit
from service.cli.opendsr import checks  # noqa: F401  (importing them declares them)
from service.cli.opendsr.suite import CHECKS
from tests.service.cli.scripted_server import Answer, script, scripted
from tests.service.cli.small_processor import AUTHORIZATION, KNOWN, SmallProcessor, authority, certificate

NAMES = [check.name for check in CHECKS]
REFUSALS = {name for name in NAMES if name.startswith("refused-")} - {"refused-without-credentials"}


def at(kind, **changed):
    """A fault in the document of one kind of answer; None takes the field away."""

    def change(reply):
        if reply.kind == kind:
            reply.document = {name: value for name, value in (reply.document | changed).items() if value is not None}

    return change


def status_of(kind, status):
    def change(reply):
        if reply.kind == kind:
            reply.status = status

    return change


def header(kind, name, value):
    def spoil(reply):
        if reply.kind == kind:
            reply.headers[name] = value

    return spoil


def body_of_certificate(content):
    def change(reply):
        if reply.kind == "certificate":
            reply.headers["body"] = content

    return change


def certificate_elsewhere(reply):
    if reply.kind == "discovery":
        there = reply.document["processor_certificate"].replace("localhost", "127.0.0.1")
        reply.document["processor_certificate"] = there


def echo(reply):
    """An error that repeats what it does not like."""
    if reply.kind == "error":
        reply.document["error"]["message"] = "opendsr-check-canary-4711 is unknown"


@pytest.fixture
def run(structguard, tmp_path, monkeypatch):
    """Checks a small processor; the exit code, and the names of checks by what came of them."""
    monkeypatch.setenv("OPENDSR_AUTHORIZATION", AUTHORIZATION)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority().public_bytes(Encoding.PEM))

    def check(processor, *more):
        with scripted(processor) as (address, _):
            url = processor.address = address.replace("127.0.0.1", "localhost")
            ran = structguard(
                *("opendsr-check", url, "--json", "--authorities", roots, "--listen", "127.0.0.1:0"),
                *("--identity", f"controller_customer_id:raw:{KNOWN}", "--patience", "0.3", *more),
            )
        outcomes = {}
        for found in ran.document["checks"]:
            outcomes.setdefault(found["outcome"], set()).add(found["name"])
        return ran.code, outcomes

    return check


def test_a_processor_that_is_right_passes_everything(run):
    """Nothing is skipped either."""
    assert run(SmallProcessor()) == (Exit.OK, {"pass": set(NAMES)})


EMAIL = {"identity_type": "email", "identity_format": "sha256"}
SIGNED = {"request-signed", "status-signed", "cancellation", "callback", "v1-routes"}

#: What a processor gets wrong, and all checks that notice.
FAULTS = [
    ({"change": at("discovery", api_version=None)}, {"discovery-document", "discovery-version"}),
    ({"change": at("discovery", supported_identities=[])}, {"discovery-document"}),
    (
        {"change": at("discovery", supported_identities=[EMAIL, EMAIL | {"identity_type": "shoe"}])},
        {"discovery-document"},
    ),
    ({"change": at("discovery", supported_subject_request_types=["erasure", "oblivion"])}, {"discovery-document"}),
    ({"change": at("discovery", api_version="1.0")}, {"discovery-version"}),
    ({"guards_discovery": True}, {"discovery-is-open"}),
    ({"change": status_of("certificate", 404)}, {"certificate"}),
    ({"certificate": certificate(days=-1)}, {"certificate", "certificate-authority"}),
    ({"certificate": certificate(bits=1024), "bits": 1024}, {"certificate"}),
    ({"certificate": certificate("other.example")}, {"certificate-domain", "certificate-authority"} | SIGNED),
    ({"certificate": certificate(is_self_signed=True)}, {"certificate-authority"}),
    ({"change": certificate_elsewhere}, {"certificate-host"}),
    ({"minds_extensions": True}, {"request-with-foreign-extension"}),
    ({"change": at("receipt", controller_id=None)}, {"request-created"}),
    ({"change": at("receipt", subject_request_id="other")}, {"request-created"}),
    ({"change": at("receipt", expected_completion_time="1999-01-01T00:00:00Z")}, {"request-created"}),
    ({"change": at("receipt", received_time="now")}, {"request-created"}),
    ({"change": at("receipt", encoded_request="e30=")}, {"request-encoded"}),
    ({"change": at("receipt", encoded_request="no Base64")}, {"request-encoded"}),
    ({"spoil": header("receipt", "X-OpenDSR-Signature", "AAAA")}, {"request-signed"}),
    ({"spoil": header("receipt", "X-OpenDSR-Signature", "no Base64")}, {"request-signed"}),
    ({"spoil": header("receipt", "X-OpenDSR-Processor-Domain", "other.example")}, {"request-signed"}),
    ({"spoil": header("receipt", "X-OpenGDPR-Signature", "AAAA")}, {"v1-routes"}),
    ({"spoil": header("receipt", "Cache-Control", "no store")}, {"request-not-cached"}),
    ({"forgets": True}, {"request-repeated", "request-identifier-reused"}),
    ({"change": at("status", request_status="done")}, {"status", "v1-cancellation", "callback"}),
    ({"change": at("status", expected_completion_time=None)}, {"status"}),
    ({"spoil": header("status", "X-OpenDSR-Signature", "AAAA")}, {"status-signed"}),
    ({"spoil": header("cancellation", "X-OpenDSR-Signature", "AAAA")}, {"cancellation"}),
    ({"change": status_of("cancellation", 200)}, {"cancellation", "v1-cancellation"}),
    ({"change": at("cancellation", received_time=None)}, {"cancellation"}),
    ({"routes": r"(/v2)?/(discovery|requests)|/opengdpr_requests"}, {"status-endpoint"}),
    ({"routes": r"(/v2)?/(discovery|requests|status)"}, {"v1-routes", "v1-cancellation"}),
    ({"believes": True}, REFUSALS | {"cancellation-of-ended"}),
    ({"guards_requests": False}, {"refused-without-credentials"}),
    ({"change": at("error", error=None)}, {"error-object"}),
    ({"change": echo}, {"error-names-nobody"}),
    ({"calls_back": False}, {"callback"}),
    ({"change": at("callback", status_callback_url="http://other.example/")}, {"callback"}),
    ({"change": at("callback", request_status=None)}, {"callback"}),
    ({"spoil": header("callback", "X-OpenDSR-Signature", "AAAA")}, {"callback"}),
]


@pytest.mark.parametrize(("fault", "noticed"), FAULTS)
def test_a_fault_is_noticed_and_nothing_else_is(run, fault, noticed):
    """One at a time, by exactly the checks that are about it."""
    code, outcomes = run(SmallProcessor(**fault))
    found = outcomes.get("fail", set()) | outcomes.get("warn", set())
    assert found == noticed
    assert (code == Exit.NOT_CONFORMING) == bool(outcomes.get("fail"))


def test_every_check_can_fail():
    """None of them is there for show."""
    assert set().union(*(noticed for _, noticed in FAULTS)) == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_every_erratum_that_a_check_is_about_is_published():
    """By its number, in the profile."""
    profile = (Path(__file__).parents[3] / "docs/opendsr.md").read_text()
    numbers = {number for check in CHECKS for number in re.findall(r"erratum (\d+)", check.clause)}
    assert numbers
    assert all(f"\n| {number} |" in profile for number in numbers)


def test_what_should_be_must_be_when_asked_for(run):
    """A warning alone is no failure."""
    processor = {"routes": r"(/v2)?/(discovery|requests)|/opengdpr_requests"}
    code, outcomes = run(SmallProcessor(**processor))
    assert (code, outcomes["warn"]) == (Exit.OK, {"status-endpoint"})
    code, outcomes = run(SmallProcessor(**processor), "--strict")
    assert (code, outcomes["fail"]) == (Exit.NOT_CONFORMING, {"status-endpoint"})


def test_there_are_other_ways_to_sign_in(run, monkeypatch):
    """Any header will do."""
    monkeypatch.delenv("OPENDSR_AUTHORIZATION")
    assert run(SmallProcessor())[0] == Exit.NOT_CONFORMING
    assert run(SmallProcessor(), "--header", f"Authorization: {AUTHORIZATION}")[0] == Exit.OK


@pytest.fixture
def known(server, register, files):
    """Whom a model of our own server has learned from."""
    headers = {"Authorization": f"Bearer {os.environ[API_KEY]}"}
    name = f"pets-{uuid.uuid4().hex}"
    assert register(name).code == 0
    manifest = f"sample_id,subject_id,label,uri\na,{name},cat,file://{next(files.glob('*.png'))}\n"
    made = httpx2.post(
        f"{server}/v1/models/{name}/versions/1/manifests",
        data={"metadata": '{"name": "training"}'},
        files={"manifest": manifest.encode()},
        headers=headers,
    )
    assert made.status_code == 201, made.text
    return name


@pytest.mark.parametrize("prefix", ["/v2", ""])
def test_our_own_server_passes_everything(structguard, server, known, monkeypatch, prefix):
    """Over HTTP, with callbacks; but for the authority that has issued no certificate yet."""
    monkeypatch.setenv("OPENDSR_AUTHORIZATION", f"Bearer {os.environ[API_KEY]}")
    ran = structguard(
        *("opendsr-check", server.replace("127.0.0.1", "localhost"), "--prefix", prefix, "--strict", "--json"),
        *("--identity", f"controller_customer_id:raw:{known}", "--listen", "127.0.0.1:0", "--allow-self-signed"),
    )
    others = [check for check in ran.document["checks"] if check["outcome"] != "pass"]
    assert [(check["name"], check["outcome"]) for check in others] == [("certificate-authority", "skip")]
    assert len(ran.document["checks"]) == len(NAMES)
    assert ran.code == Exit.OK


ODD = {name: [[7]] for name in ("supported_identities", "supported_subject_request_types", "processor_certificate")}


@pytest.mark.parametrize("status", [200, 201, 500])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"7", b"\xff", b'{"error": 7, "request_status": {}, "encoded_request": "\xc3\xbc"}', ODD],
)
def test_a_server_that_talks_nonsense_is_judged_like_any_other(structguard, status, body):
    """To the end, and without a traceback."""
    content = json.dumps(body).encode() if body is ODD else body
    with scripted(script(Answer(content, status, {"X-OpenDSR-Signature": "\xfc"}))) as (url, _):
        ran = structguard("opendsr-check", url, "--json")
    assert ran.code == Exit.NOT_CONFORMING
    assert [check["name"] for check in ran.document["checks"]] == NAMES
    assert not [check for check in ran.document["checks"] if "understood" in check["detail"]]


def test_a_report_for_people(structguard, server, monkeypatch):
    """A line for each check, with its clause; without credentials hardly any passes."""
    monkeypatch.delenv("OPENDSR_AUTHORIZATION", raising=False)
    ran = structguard("opendsr-check", server)
    assert ran.code == Exit.NOT_CONFORMING
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == NAMES
    assert any(line.split()[:3] == ["discovery-document", "6.3", "pass"] for line in lines)
    assert any(line.split()[:2] == ["request-created", "7.3"] and "expected 201, got 401" in line for line in lines)
    assert any(line.split()[0] == "callback" and "skip" in line and "--listen" in line for line in lines)


def test_nobody_answers(structguard):
    """That is no verdict on anybody."""
    assert structguard("opendsr-check", "http://127.0.0.1:1").code == Exit.UNREACHABLE


@pytest.mark.parametrize(
    "wrong",
    [("--identity", "4711"), ("--listen", "here"), ("--listen", "127.0.0.1:99999"), ("--header", "Authorization")],
)
def test_options_that_make_no_sense(structguard, server, wrong):
    """Usage, before anything is sent."""
    assert structguard("opendsr-check", server, *wrong).code == Exit.USAGE


def test_an_address_that_cannot_be_listened_on(structguard, server):
    """It is somebody else's."""
    port = server.rpartition(":")[2]
    assert structguard("opendsr-check", server, "--listen", f"127.0.0.1:{port}").code == Exit.UNEXPECTED
