"""From a deletion request to evidence that is checked without the service, and computed again with what it has."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from sqlalchemy import select

from service.registry.crypto.canonical_json import leaves
from service.registry.models import dispositions
from service.registry.models.preprocessing import Preprocessing
from service.registry.operations import housekeeping
from service.registry.states import Disposition
from service.registry.storage import schema
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import Job, Model, Version
from tests.acceptance.conftest import Digits, running
from tests.acceptance.test_forgetting import post_request, register
from worker.digits import inputs, split
from worker.digits import train as learn
from worker.inputs.inputs import CheckpointAltered
from worker.networks import architectures
from worker.recompute.remeasure import recompute
from worker.settings import WorkerSettings


def structguard(*arguments: object, environment: dict[str, str] | None = None) -> tuple[int, dict]:
    """Exit code and document of a command in a process of its own."""
    command = [sys.executable, "-m", "service.cli", *map(str, arguments), "--json"]
    done = subprocess.run(
        command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False, timeout=250
    )
    return done.returncode, json.loads(done.stdout)


def add_reference(client: httpx.Client, digits: Digits, folder: Path) -> str:
    """A model whose only version was trained on other digits than those to forget."""
    train, _ = split(0)
    card, others = digits.card, train.take(np.arange(700, len(train.labels)))
    preprocessing = Preprocessing.model_validate(card["preprocessing"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("worker.digits.EPOCHS", 5)
        network = learn(inputs(others.images, preprocessing), torch.from_numpy(others.labels), seed=1)
    architectures.save(network, folder / "reference.safetensors", {})
    client.post("/v1/models", json={"name": "reference"}).raise_for_status()
    with (folder / "reference.safetensors").open("rb") as checkpoint:
        data = {"metadata": json.dumps(card)}
        client.post("/v1/models/reference/versions", data=data, files={"checkpoint": checkpoint}).raise_for_status()
    return "reference"


def test_every_number_of_a_certificate_is_verified_offline_and_computed_again(tmp_path: Path, digits: Digits) -> None:
    data, seen = tmp_path / "data", tmp_path / "seen"
    for folder in (data, seen):
        folder.mkdir()
    database = Database(f"sqlite:///{data / 'registry.sqlite'}")
    schema.upgrade(database)
    with running(data, database, STRUCTGUARD_EVIDENCE_RETENTION="P1D") as stack, stack.client() as client:
        stack.start_worker()
        name, reference = register(client, digits), add_reference(client, digits, tmp_path)
        options = {"scope": "exact", "references": [{"model": reference, "version": 1}]}
        request = post_request(client, name, digits, some=slice(0, 4), options=options)
        ended = stack.finish(client, request.headers["location"])
        assert ended["state"] == "completed", ended["reason"]
        bundle = client.get(ended["links"]["evidence"]).content
        (seen / "model.safetensors").write_bytes(client.get(ended["links"]["checkpoint"]).content)
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        archive.extractall(seen)
    certificate = seen / "certificate.json"
    said = json.loads(base64.b64decode(json.loads(certificate.read_bytes())["payload"]))
    about = said["predicate"]
    assert about["measurements"] == {when: ended["metrics"][when] for when in ("before", "after")}
    assert about["forget_set"]["images"]["disposition"] == "to be destroyed"
    assert about["anchors"]["encoder"].startswith("minilm")
    assert [(kept["kind"], kept["count"]) for kept in about["evaluation_sets"]] == [("test", 397), ("retain", 500)]
    assert [(one["name"], one["left_out"]) for one in about["references"]] == [(f"{reference}/1", None)]
    assert {"torch", "python", "device", "structguard"} <= about["environment"]["worker"].keys()
    model = seen / "model.safetensors"
    assert said["subject"][0]["digest"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()

    (seen / "bundle.zip").write_bytes(bundle)
    (key,) = (seen / "signing-keys").iterdir()
    code, verdict = structguard("verify", certificate, model, "--key", key, "--request", ended["id"])
    assert (code, {one["check"] for one in verdict["findings"]}) == (
        0,
        {"signature", "parameters", "request", "model", "origin"},
    )

    code, verdict = structguard("verify-bundle", seen / "bundle.zip", model, "--key", key, "--request", ended["id"])
    assert (code, verdict["verified"], len(verdict["findings"])) == (0, True, 12)

    here = {"STRUCTGUARD_DATA_DIR": str(data), "STRUCTGUARD_EVIDENCE_RETENTION": "P1D"}  # as the service has it
    code, again = structguard("recompute", certificate, environment=here)
    values = {one["place"]: one for one in again["numbers"]}
    assert [one for one in again["numbers"] if one["verdict"] != "same"] == []
    assert code == 0
    every_number = {place for place, value in leaves(about) if isinstance(value, int | float)}
    assert len(every_number) > 150
    assert every_number - values.keys() == set()
    assert {"audit.head_sha256", f"reach.versions.{name}/1.state", "environment.worker.torch"} <= values.keys()
    assert "measurements.after.membership.unseen.attacks.lira.auc" in values
    assert values["measurements.after.test_accuracy"]["again"] == ended["metrics"]["after"]["test_accuracy"]

    # Not with another file in the place of the reference. Without it, all that does not depend on it is the same again.
    settings, artifacts = WorkerSettings(data_dir=data, device="cpu"), Artifacts(data)
    with database.write() as session:
        row = session.scalars(select(Version).where(Version.sha256 == about["references"][0]["digest"]["sha256"])).one()
        dispositions.dispose(session, session.get(Model, row.model_id), row, Disposition.DELETED)
        job = session.scalars(select(Job)).one()
        job.options = job.options | {"goal": "indistinguishable"}  # as if the gate had gone by attacks
        file = artifacts.path(row.checkpoint)
    file.write_bytes(b"another")
    as_it_was = settings.model_copy(update={"evidence_retention": timedelta(days=1)})
    with pytest.raises(CheckpointAltered):
        list(recompute(database, artifacts, as_it_was, certificate.read_bytes(), 1e-4))
    housekeeping.destroy_checkpoints(database, artifacts)
    values = list(recompute(database, artifacts, as_it_was, certificate.read_bytes(), 1e-4))
    missed = {one.place.removeprefix("measurements.after.membership.") for one in values if one.verdict != "same"}
    assert {one.place for one in values if one.verdict == "differs"} == {"method.goal"}
    assert {one.verdict for one in values} == {"same", "differs", "needs the reference models"}
    assert {"unseen.attacks.lira.auc", "unseen.advantage", "gate.objections"} <= missed
    assert not {"unseen.attacks.loss.auc", "unseen.controls", "measurements.after.test_accuracy"} & missed
    with database.write() as session:
        job = session.scalars(select(Job)).one()
        job.options = job.options | {"goal": "misclassify"}

    # Once the images are gone, and of a certificate that says something else.
    housekeeping.destroy_samples(database, artifacts, settings)
    forged = json.loads(certificate.read_bytes())
    about["measurements"]["after"]["test_accuracy"] += 0.5
    about["audit"]["chain_height"] += 1
    about["run"]["workers"] = 1  # a number that nobody computes again
    forged["payload"] = base64.b64encode(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).decode()
    content = json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()
    values = list(recompute(database, artifacts, settings, content, 1e-4))
    verdicts = {one.place.removeprefix("measurements.after."): one.verdict for one in values}
    assert {place for place, verdict in verdicts.items() if verdict == "differs"} == {
        "test_accuracy",
        "audit.head_sha256",
        "run.workers",
    }
    assert {place for place, verdict in verdicts.items() if verdict == "changed since it was issued"} == {
        "forget_set.images.disposition",
        "forget_set.images.at",
    }
    for place in ("forget_accuracy", "membership.unseen.advantage", "streisand.unseen.advantage"):
        assert verdicts[place] == "needs the images"
    for place in ("retain_accuracy", "collapse", "similarity.cka", "retained_similarity.cka"):
        assert verdicts[place] == "same"
    database.close()
