"""Names are sent to every operation, wherever a text fits, and are then looked for wherever something is written."""

import io
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis
from PIL import Image, PngImagePlugin
from safetensors.numpy import save
from sqlalchemy import select

from service.dashboard.routes import models as model_pages
from service.dashboard.routes import overview, pictures, requests, webhooks
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.job_queue import jobs
from service.registry.models.architectures import Architecture, expected_tensors
from service.registry.storage import schema
from service.registry.storage.database import Database
from service.registry.tables import Base
from tests.acceptance.canaries import Canaries
from tests.acceptance.canary_calls import Calls, Told
from tests.acceptance.conftest import Stack, distributed, running
from tests.conftest import REDIS
from tests.service.cli.scripted_server import Answer, scripted
from tests.service.given import archive, csv_of, npz, row
from tests.service.given_jobs import Jobs

#: Where labels may stand. No column may hold what stands for a person.
LABELLED = {
    *("models.name", "models.description", "versions.classes", "versions.attributes", "versions.tags", "aliases.name"),
    *("manifests.name", "evaluation_sets.name", "anchor_sets.classes", "anchor_sets.descriptions", "api_keys.name"),
    *("deletion_requests.regulation", "deletion_requests.reason_parameters", "jobs.reason_parameters"),
    "transitions.reason",
    *("webhook_endpoints.url", "webhook_endpoints.description"),
    "webhook_messages.body",  # the model's name
    *("certificates.body", "jobs.options", "jobs.provenance"),  # the names of models, aliases and sets
    *("creations.operation", "creations.headers", "creations.body"),  # paths with names, answers that repeat labels
}

#: Files of the data folder that hold what was sent as it was: the owner's weights.
AS_SENT = {"checkpoints"}

#: What Prometheus has, and tenants have not.
TOKEN = "sesame"

#: Pages and forms of the dashboard; signing in is sent a name, too, and out would end it.
PAGES = (overview, requests, pictures, model_pages, webhooks)

#: OpenDSR 2.0, section 7.3, has a receipt repeat the request.
RECEIPT = re.compile(rb'"encoded_request":"[^"]*"')


@contextmanager
def embedded() -> Iterator[tuple[Database | None, dict[str, str]]]:
    yield None, {}


@pytest.mark.parametrize("topology", [embedded, distributed])
def test_no_name_gets_to_where_it_does_not_belong(topology, tmp_path: Path) -> None:
    words, data, photographs = Canaries(), tmp_path / "data", tmp_path / "photographs"
    for folder in (data, photographs, tmp_path / "tmp"):
        folder.mkdir()
    with topology() as (server, environment), scripted(lambda _: Answer(b"")) as (receiver, heard):
        database = server or Database(f"sqlite:///{data / 'registry.sqlite'}")
        schema.upgrade(database)
        environment |= {
            "STRUCTGUARD_WEBHOOK_PRIVATE": "true",
            "STRUCTGUARD_MANIFEST_SCHEMES": "file",
            "STRUCTGUARD_MANIFEST_ROOT": str(photographs),
            "STRUCTGUARD_RATE_LIMIT": "0",
            "STRUCTGUARD_METRICS_TOKEN": TOKEN,
            "TMPDIR": str(tmp_path / "tmp"),
        }
        with (
            running(data, database, **environment) as stack,
            Calls(stack.url, stack.key, stranger(database), words) as calls,
        ):
            everything(calls, words, database, receiver, photographs)
            calls.told += on_the_dashboard(stack, words)
            missed = sorted(calls.operations - calls.accepted)
            assert not missed, f"call these in `everything`, so that names are sent to them, too: {missed}"
            scraped = httpx.get(f"{stack.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            metrics = scraped.raise_for_status().content
            wrong = leaks(words, database, data)
            wrong += [f"temporary files: {path.name}" for path in (tmp_path / "tmp").iterdir()]
            work(stack)
            wrong += leaks(words, database, data)
        wrong += [f"metrics: {it}" for it in words.found(metrics, labels=True)]
        named = ("a model", "an alias", "path of PUT /v1/models/{name}/aliases/{alias}")
        known = {words.label(it) for it in named}
        wrong += [f"metrics: {it}" for it in words.labels_in(metrics) - known]
        wrong += [f"log: {it}" for it in words.found(stack.logs().encode(), labels=False)]
        wrong += from_answers(words, calls)
        wrong += from_callbacks(words, heard)
        if "STRUCTGUARD_BROKER_URL" in environment:
            wrong += [f"Redis: {it}" for it in words.found(in_redis(), labels=False)]
        database.close()
    assert not wrong, "\n".join(sorted(set(wrong)))


def stranger(database: Database) -> str:
    """A key that may do next to nothing."""
    with database.write() as session:
        owner = api_keys.ensure_tenant(session, "acme").id
        return api_keys.create_key(session, owner, name="auditor", scopes=[Scope.EVIDENCE_READ], expires_at=None)[1]


def everything(call: Calls, words: Canaries, database: Database, receiver: str, photographs: Path) -> None:
    """Every operation at least once, as it is meant to be used."""
    label, person = words.label, words.person
    for path in ("/livez", "/readyz", "/v1/architectures"):
        call("GET", path)
    call("GET", "/metrics", by=TOKEN)
    call("GET", "/problems/{slug}", slug="not-found")

    hooks = "/v1/webhooks"
    told = {"url": f"{receiver}/{label('url')}", "events": [], "description": label("a webhook's description")}
    hook = call("POST", hooks, body=told)["id"]
    call("GET", hooks)
    call("GET", hooks + "/{webhook_id}", webhook_id=hook)
    call("POST", hooks + "/{webhook_id}/rotate-secret", webhook_id=hook)
    delivery = call("POST", hooks + "/{webhook_id}/test", webhook_id=hook)["id"]
    call("GET", hooks + "/{webhook_id}/deliveries", webhook_id=hook)
    call("POST", hooks + "/{webhook_id}/deliveries/{delivery_id}/replay", webhook_id=hook, delivery_id=delivery)
    other = call("POST", hooks, body=told, spoil=False)["id"]
    call("PATCH", hooks + "/{webhook_id}", webhook_id=other, body={**told, "enabled": False})
    call("DELETE", hooks + "/{webhook_id}", webhook_id=other)

    keys = "/v1/api-keys"
    made = call("POST", keys, body={"name": label("an API key"), "scopes": ["admin"], "expires_at": None})
    call("GET", keys)
    call("GET", keys + "/{key_id}", key_id=made["id"])
    revoked = call("POST", keys, body={"name": "old", "scopes": ["admin"]}, spoil=False)["id"]
    call("DELETE", keys + "/{key_id}", key_id=revoked)

    models = "/v1/models"
    pets = label("a model")
    call("POST", models, body={"name": pets, "description": label("a description"), "policy": {"max_collapse": 2}})
    call("GET", models)
    call("GET", models + "/{name}", name=pets)
    call("PATCH", models + "/{name}", name=pets, body={"pool": "default"})
    classes = [label("a class"), label("another class")]
    version = {
        "architecture": {"name": "cifar_resnet8", "in_channels": 3},
        "classes": classes,
        "preprocessing": {"size": [8, 8], "mean": [0.5] * 3, "std": [0.25] * 3, "resize": "crop"},
        "attributes": {classes[0]: [label("an attribute")]},
        "parent": None,
    }
    upload = {"metadata": version, "files": [("checkpoint", checkpoint(label("a checkpoint's metadata")))]}
    versions = models + "/{name}/versions"
    attic, others = label("a model for bad versions"), label("a model to compare with")
    for name in (attic, pets, others):
        if name != pets:
            call("POST", models, body={"name": name}, spoil=False)
        call("POST", versions, name=name, **upload, spoil=name == attic)
    first = {"name": pets, "number": 1}
    call("GET", versions, name=pets)
    call("GET", versions + "/{number}", **first)
    call("GET", versions + "/{number}/compare/{other}", **first, other=1)
    for method in ("GET", "HEAD"):
        call(method, versions + "/{number}/checkpoint", **first)
    for method, body in (("PUT", {"body": {"value": label("a tag's value")}}), ("DELETE", {})):
        call(method, versions + "/{number}/tags/{key}", **first, key=label("a tag"), **body)

    for disposition in ("quarantined", "kept"):
        call("PUT", versions + "/{number}/disposition", **first, body={"disposition": disposition})

    aliases = models + "/{name}/aliases"
    alias = {"name": pets, "alias": label("an alias")}
    moved = {"version": 1, "follows_gate": True, "override_gate": False}
    call("PUT", aliases + "/{alias}", **alias, body=moved)
    call("GET", aliases, name=pets)
    call("GET", aliases + "/{alias}", **alias)
    call("DELETE", aliases + "/{alias}", **alias)
    call("PUT", aliases + "/{alias}", **alias, body=moved, spoil=False)

    photograph = photographs / f"{person('name of a photograph')}.png"
    photograph.write_bytes(picture(words, "PNG", shade=9))
    lost = row(person("lost record"), subject=person("lost subject"), label="1", uri=f"file://{photograph}.gone")
    kept = row(person("record"), subject=person("subject"), label="0", uri=f"file://{photograph}")
    manifests = versions + "/{number}/manifests"
    training = label("a manifest")
    call("POST", manifests, **first, metadata={"name": training}, files=[("manifest", csv_of(kept, lost))])
    call("GET", manifests, **first)
    call("GET", manifests + "/{manifest}", **first, manifest=training)

    sets = models + "/{name}/evaluation-sets"
    holdout = {"name": label("an evaluation set"), "kind": "test", "labels": [0, 1, 0]}
    pictures = [("images", picture(words, kind, shade=at)) for at, kind in enumerate(("PNG", "JPEG", "WEBP"))]
    call("POST", sets, name=pets, metadata=holdout, files=pictures)
    call("GET", sets, name=pets)
    call("GET", sets + "/{evaluation_set}", name=pets, evaluation_set=holdout["name"])
    zipped = {f"{classes[0]}/{person('file in a zip')}.png": pictures[0][1], "notes/.txt": person("note").encode()}
    grey = npz(images=np.zeros((1, 8, 8), np.uint8), labels=np.array([0]), **{person("array"): np.zeros(1)})
    comment = person("comment of an archive").encode()
    for kind, content in (("zip", archive(zipped)), ("npz", grey)):
        metadata = {"name": f"of-a-{kind}", "kind": "retain"}
        call("POST", sets, name=pets, metadata=metadata, files=[("images", with_comment(content, comment))])

    anchors = npz(emb=np.eye(2, dtype=np.float32), names=np.array(classes))
    anchor_set = call("POST", "/v1/anchor-sets", metadata={"classes": classes}, files=[("anchors", anchors)])["id"]
    call("GET", "/v1/anchor-sets")
    call("GET", "/v1/anchor-sets/{anchor_set}", anchor_set=anchor_set)

    requests = "/v1/deletion-requests"
    one = requests + "/{request_id}"
    asked = {
        "model": pets,
        "labels": [classes[1], 1, 1],
        "regulation": label("a regulation"),
        "options": {
            "profile": "default",
            "scope": "exact",
            "seed": 1,
            "encoder": "precomputed",
            "anchor_set": anchor_set,
            "references": [{"model": others, "version": 1}],
        },
    }
    brought = call("POST", requests, metadata=asked, files=pictures)["id"]
    by_subject = call("POST", requests, body={"model": pets, "sample_ids": [kept["sample_id"]]}, spoil=False)["id"]
    for named in ({"subject_id": lost["subject_id"]}, {"sample_ids": [lost["sample_id"], person("nobody's record")]}):
        with pytest.raises(AssertionError, match=r"cannot be fetched|no manifest"):
            call("POST", requests, body={"model": pets} | named)
    call("POST", requests, body={"model": pets, "subject_id": kept["subject_id"]})
    call("POST", "/v1/subjects/reach", body={"subject_id": kept["subject_id"]})
    call("GET", "/v1/suppressions")
    call("GET", requests, query={"model": pets, "state": "queued"})
    call("GET", one, request_id=brought)
    by_hand = Jobs(database)
    failed = []
    for _ in range(2):
        claim = by_hand.claim()
        by_hand.fail(claim)
        with database.read() as session:
            failed += [str(request.id) for request in jobs.requests_of(session, claim.job_id)]
            job = str(claim.job_id)
    call("GET", one + "/events", request_id=failed[0])
    call("POST", requests + "/retry", body={"ids": [failed[0]]})
    call("POST", one + "/retry", request_id=failed[1])
    call("POST", one + "/cancel", request_id=by_subject)
    claim = by_hand.claim()
    with database.read() as session:
        (done,) = (str(request.id) for request in jobs.requests_of(session, claim.job_id))
    by_hand.publish(claim)
    call("GET", one + "/certificate", request_id=done)
    call("GET", one + "/evidence", request_id=done)
    signing = call("GET", "/v1/signing-keys")["items"][0]["id"]
    call("GET", "/v1/signing-keys/{key_id}", key_id=signing)
    call("GET", "/v1/reports/{regulation}", regulation="ccpa", query={"year": 2026})
    call("GET", "/v1/jobs")
    call("GET", "/v1/jobs/{job_id}", job_id=job)
    call("GET", "/v1/jobs/{job_id}/steps", job_id=job)

    careful = label("a model with approval")
    call("POST", models, body={"name": careful, "approval_required": True}, spoil=False)
    call("POST", versions, name=careful, **upload, spoil=False)
    for verb, body in (("approve", {}), ("reject", {"body": {"reason": label("a reason")}})):
        waiting = {"metadata": {"model": careful, "labels": [0]}, "files": pictures[:1]}
        waits = call("POST", requests, **waiting, spoil=False, by=made["key"])["id"]
        call("POST", f"{one}/{verb}", request_id=waits, **body)

    call("GET", "/v1/audit")
    for part in ("entries", "checkpoints", "export"):
        call("GET", f"/v1/audit/{part}")

    call("GET", "/v1/discovery")
    told = [f"{receiver}/{label('url of a status callback')}"]
    whom = [{"identity_type": "controller_customer_id", "identity_value": kept["subject_id"], "identity_format": "raw"}]
    for prefix, collection in (
        ("", "requests"),
        ("/v2", "requests"),
        ("", "opengdpr_requests"),
        ("/v1", "opengdpr_requests"),
    ):
        whole = f"{prefix}/{collection}"
        wanted = {
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": "erasure",
            "submitted_time": "2026-03-02T10:15:00Z",
            "subject_identities": whom,
            "status_callback_urls": told,
        }
        identifier = call("POST", whole, body=wanted)["subject_request_id"]
        call("GET", whole + "/{subject_request_id}", subject_request_id=identifier)
        if collection == "requests":
            call("GET", f"{prefix}/discovery")
            call("GET", f"{prefix}/cert.pem")
            call("GET", prefix + "/status/{subject_request_id}", subject_request_id=identifier)
        call("DELETE", whole + "/{subject_request_id}", subject_request_id=identifier)


def checkpoint(note: str) -> bytes:
    """A network that takes everything for the first class."""
    rng = np.random.default_rng(0)
    expected = expected_tensors(Architecture(name="cifar_resnet8"), num_classes=2, image_size=(8, 8))
    weights = {
        name: np.ones(want.shape, np.int64) if want.integer else rng.uniform(0.1, 0.3, want.shape).astype(np.float32)
        for name, want in expected.items()
    }
    weights["linear.bias"] = np.array([100, 0], np.float32)
    return save(weights, {"author": note})


def picture(words: Canaries, kind: str, *, shade: int) -> bytes:
    """An image that says a name in every way its format has."""
    name = words.person(f"metadata of a {kind}")
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = name  # description, artist
    exif[0x9C9D] = name.encode("utf-16-le")  # XPAuthor
    how = {"exif": exif, "icc_profile": name.encode()}
    if kind == "PNG":
        how["pnginfo"] = PngImagePlugin.PngInfo()
        how["pnginfo"].add_text("Title", name)
    else:
        how |= {"xmp": name.encode()} | ({"comment": name} if kind == "JPEG" else {})
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (40 * shade, 0, 90)).save(file, kind, **how)
    return file.getvalue() + name.encode()


def with_comment(zipped: bytes, comment: bytes) -> bytes:
    """The archive with a comment at its end."""
    return zipped[:-2] + len(comment).to_bytes(2, "little") + comment


def work(stack: Stack) -> None:
    """Let the worker do what has waited longest; the rest is withdrawn, for the sake of time."""
    with stack.client() as client:
        queued = client.get("/v1/deletion-requests", params={"state": "queued", "limit": 100}).json()["items"]
        *others, oldest = (request["links"]["self"] for request in queued)
        for link in others:
            client.post(f"{link}/cancel").raise_for_status()
        stack.start_worker()
        try:
            stack.finish(client, oldest, seconds=60)
        except AssertionError:  # a busy machine: the run has loaded everything and takes its steps, which is enough
            assert client.get(oldest).json()["progress"]["step"] > 0
            client.post(f"{oldest}/cancel").raise_for_status()
            stack.finish(client, oldest)


def on_the_dashboard(stack: Stack, words: Canaries) -> list[Told]:
    """Every page and form, with names in place of whatever it takes; somebody is signed in."""
    told = []
    with httpx.Client(base_url=stack.url, timeout=60) as browser:

        def token() -> str:
            return re.findall(r'name="csrf" value="([0-9a-f]+)"', browser.get("/dashboard/sign-in").text)[0]

        browser.post("/dashboard/sign-in", data={"csrf": token(), "key": words.person("key of the dashboard")})
        browser.post("/dashboard/sign-in", data={"csrf": token(), "key": stack.key})
        form = re.findall(r'name="csrf" value="([0-9a-f]+)"', browser.get("/dashboard/requests").text)[0]
        for module in PAGES:
            for route in module.router.routes:
                (method,) = route.methods
                where = f"{method} /dashboard{route.path}"
                word = words.person(where)
                path = re.sub(r"\{\w+\}", word, route.path)
                query = dict.fromkeys(("model", "state", "done", word), word) | {"overdue": "true"}
                data = {"csrf": form, "reason": word, word: word} if method == "POST" else None
                answer = browser.request(method, f"/dashboard{path}", params=query, data=data)
                text = f"{answer.headers}".encode() + answer.content
                told.append(Told(where, answer.status_code, text, word))
    return told


def leaks(words: Canaries, database: Database, data: Path) -> list[str]:
    """What columns and files hold that they must not."""
    wrong = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                name = f"{table.name}.{column.name}"
                values = session.execute(select(column)).scalars().all()
                text = b"\n".join(value if isinstance(value, bytes) else _text(value) for value in values)
                wrong += [f"{name}: {it}" for it in words.found(text, labels=name in LABELLED)]
    for path in data.rglob("*"):
        kind = path.relative_to(data).parts[0]
        if path.is_file() and kind not in AS_SENT and path.suffix != ".log":
            # SQLite's own files hold the columns, and what was in them.
            labels = kind.startswith("registry.sqlite") or kind == "anchor-sets"
            wrong += [f"files of {kind}: {it}" for it in words.found(path.read_bytes(), labels=labels)]
    return wrong


def _text(value: object) -> bytes:
    return json.dumps(value, default=str).encode()


def from_answers(words: Canaries, calls: Calls) -> list[str]:
    """Labels may come back, but not those of a request that was refused."""
    wrong = []
    for told in calls.told:
        where = f"answer {told.status} to {told.request}"
        text = RECEIPT.sub(b"", told.text)
        wrong += [f"{where}: {it}" for it in words.found(text, labels=True)]
        if told.status >= 400:
            returned = words.labels_in(told.text) & words.labels_in(told.sent.encode())
            wrong += [f"{where}: {label}" for label in returned]
        if told.status >= 500:
            wrong.append(where)
    return wrong


def from_callbacks(words: Canaries, heard: list) -> list[str]:
    """They name the model and nothing else; those of OpenDSR, as section 8.3 has it, the URL that they are sent to."""
    assert heard
    known = {words.label(it) for it in ("a model", "a model with approval", "url of a status callback")}
    wrong = []
    for request in heard:
        text = json.dumps(request.headers).encode() + request.body
        wrong += [f"callback: {it}" for it in words.found(text, labels=True)]
        wrong += [f"callback: {label}" for label in words.labels_in(text) - known]
    return wrong


def in_redis() -> bytes:
    """Every key with its value."""
    with redis.Redis.from_url(REDIS) as broker:
        read = {b"string": broker.get, b"list": lambda key: broker.lrange(key, 0, -1), b"hash": broker.hgetall}
        return b"\n".join(
            key + repr(read[kind](key)).encode() if (kind := broker.type(key)) in read else key
            for key in broker.scan_iter()
        )
