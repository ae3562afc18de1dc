"""One run of the worker for several requests, from their encrypted images to the new version."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from PIL import Image

from service.registry.access import api_keys
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.deletion_requests import lifecycle
from service.registry.images.archive import ImageArchiveWriter
from service.registry.job_queue import claims
from service.registry.job_queue.batching import Batching
from service.registry.models import models, versions
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.options import Options
from service.registry.states import State
from tests.worker.given_runs import FEW, add_anchors
from tests.worker.given_runs import submit as ask
from worker.inputs.images import pixels
from worker.job import attempt
from worker.job.progress_report import ProgressReport
from worker.networks import architectures
from worker.networks.cifar_resnet import cifar_resnet
from worker.unlearning import DEFAULT

CLASSES = ["cat", "dog", "fox"]
PREPROCESSING = Preprocessing(size=(8, 8), mean=[0.5], std=[0.25])


@pytest.fixture(autouse=True)
def _in_seconds(monkeypatch):
    """A network that knows nothing needs no surrogates to speak of."""
    monkeypatch.setattr(attempt, "DEFAULT", replace(DEFAULT, **FEW))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return cifar_resnet(8, num_classes=len(CLASSES), in_channels=1).eval()


@pytest.fixture
def model(sqlite, artifacts, network):
    """A model with one version and anchors."""
    with artifacts.stage() as staged:
        architectures.save(network, staged.path, {})
        sha256, size = staged.digest()
        staged.keep("checkpoints/1")
    with sqlite.write() as session:
        tenant_id = api_keys.ensure_tenant(session, "acme").id
        found = models.register_model(
            session, tenant_id, name="pets", description="", policy=Policy(), approval_required=False
        )
        versions.register_version(
            session,
            found,
            parent=None,
            architecture={"name": "cifar_resnet8", "in_channels": 1},
            classes=CLASSES,
            preprocessing=PREPROCESSING.model_dump(mode="json"),
            attributes={},
            checkpoint="checkpoints/1",
            sha256=sha256,
            size=size,
            code_version="0",
            gate=None,
        )
        add_anchors(session, artifacts, tenant_id, CLASSES)
        return found


@pytest.fixture
def submit(sqlite, artifacts, settings, model, network):
    """Asks for these images of noise to be forgotten, which the network knows."""

    def submitted(*seeds):
        images = []
        for seed in seeds:
            image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))
            with torch.no_grad():
                seen = network(((pixels(image, PREPROCESSING) - 0.5) / 0.25).unsqueeze(0))
            images.append((image, seen.argmax()))
        return ask(sqlite, artifacts, settings, model, images, Options(scope="exact"))

    return submitted


@pytest.fixture
def run(sqlite, artifacts, settings):
    """Runs the next job as the worker does, in this process."""

    def ran():
        with sqlite.write() as session:
            claim = claims.take(session, worker="w", lease=timedelta(hours=1), batching=Batching.of(settings))
        attempt.run(sqlite, artifacts, settings, claim, ProgressReport(sqlite, claim))

    return ran


@pytest.fixture
def now(sqlite):
    """The requests as they are."""

    def found(*requests):
        with sqlite.read() as session:
            return [lifecycle.find(session, one.tenant_id, one.id) for one in requests]

    return found


def test_three_requests_make_one_version_and_each_knows_what_came_of_its_own_images(submit, run, now):
    """Two of them share an image, which counts for both."""
    run_for = [submit(1, 2), submit(2, 3), submit(4)]
    run()
    done = now(*run_for)
    assert [one.state for one in done] == [State.COMPLETED] * 3
    assert [one.job.version.number for one in done] == [2] * 3
    of_run = done[0].job.metrics
    for one in done:
        assert one.metrics["before"]["forget_accuracy"] == 0
        assert one.metrics["after"]["forget_accuracy"] == 100
        assert one.metrics["after"].keys() == {"forget_accuracy", "robust_forget_accuracy"}
    robust = [one.metrics["after"]["robust_forget_accuracy"] for one in done]
    assert min(robust) <= of_run["after"]["robust_forget_accuracy"] <= max(robust)


@pytest.mark.parametrize("harm", ["altered", "missing", "undecodable"])
def test_images_that_cannot_be_read_fail_their_own_request_only(submit, run, now, artifacts, settings, sqlite, harm):
    """The reason says what to do, and the others are forgotten."""
    good, bad = submit(1), submit(2)
    file = artifacts.path(bad.samples)
    if harm == "altered":
        content = bytearray(file.read_bytes())
        content[20] ^= 1
        file.write_bytes(content)
    elif harm == "missing":
        file.unlink()
    else:
        with EncryptedWriter(file) as encrypted, ImageArchiveWriter(encrypted) as kept:
            kept.add(b"no image", 0)
        with sqlite.write() as session:
            changed = lifecycle.find(session, bad.tenant_id, bad.id)
            changed.samples_key = MasterKey(settings).wrap(encrypted.key, bad.id)
    run()
    done, failed = now(good, bad)
    assert (done.state, done.job.version.number, done.metrics) == (State.COMPLETED, 2, None)
    assert (failed.state, failed.job.version) == (State.FAILED, None)
    assert failed.reason.startswith(("load: The images ", "load: It cannot be decrypted"))
    assert failed.reason.endswith("restore it from a backup, then retry.")


def test_without_any_images_there_is_nothing_to_run(submit, run, now, artifacts):
    """All have failed, and no version comes of it."""
    lost = [submit(1), submit(2)]
    for one in lost:
        artifacts.path(one.samples).unlink()
    run()
    assert [(one.state, one.job.version) for one in now(*lost)] == [(State.FAILED, None)] * 2
