"""One run of the worker for several requests, from their encrypted images to the new version."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from PIL import Image

from service.registry.access import api_keys
from service.registry.crypto import dsse
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.crypto.signing_keys import signer
from service.registry.deletion_requests import lifecycle
from service.registry.evidence import certificates
from service.registry.images.archive import ImageArchiveWriter
from service.registry.job_queue import claims
from service.registry.job_queue.batching import Batching
from service.registry.models import evaluation_sets, models, versions
from service.registry.models.architectures import Architecture
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.operations import housekeeping
from service.registry.options import Options
from service.registry.states import State
from service.registry.tables import Job
from tests.worker.given_runs import FEW, add_anchors
from tests.worker.given_runs import submit as ask
from worker.inputs.images import pixels
from worker.inputs.inputs import Inputs
from worker.job import attempt
from worker.job.progress_report import ProgressReport
from worker.networks import architectures
from worker.networks.cifar_resnet import cifar_resnet
from worker.recompute.remeasure import recompute
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
        policy = Policy(max_test_accuracy_drop=100, max_collapse=2)  # which noise cannot hold
        found = models.register_model(
            session, tenant_id, name="pets", description="", policy=policy, approval_required=False
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


def predicted(network, image):
    with torch.no_grad():
        return int(network(((pixels(image, PREPROCESSING) - 0.5) / 0.25).unsqueeze(0)).argmax())


@pytest.fixture
def known(network):
    """Images of noise, each with the label that the network gives it."""

    def labelled(*seeds):
        shown = [np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8) for seed in seeds]
        return [(image, predicted(network, image)) for image in map(Image.fromarray, shown)]

    return labelled


@pytest.fixture
def submit(sqlite, artifacts, settings, model, known):
    """Asks for these images of noise to be forgotten, which the network knows."""

    def submitted(*seeds):
        return ask(sqlite, artifacts, settings, model, known(*seeds), Options(scope="exact"))

    return submitted


@pytest.fixture
def add_set(sqlite, artifacts, model, known):
    """Registers an evaluation set of images of noise."""

    def added(kind, *seeds):
        images, labels = zip(*known(*seeds), strict=True)
        with artifacts.stage() as staged:
            with staged.path.open("wb") as file:
                np.savez(file, images=np.stack([np.asarray(image)[..., None] for image in images]), labels=labels)
            sha256, size = staged.digest()
            staged.keep(kind)
        with sqlite.write() as session:
            given = {"samples": kind, "count": len(seeds), "sha256": sha256, "size": size}
            evaluation_sets.add_evaluation_set(session, model, name=kind, kind=kind, **given)

    return added


@pytest.fixture
def recomputed(sqlite, artifacts, settings):
    """Certifies a request, and computes the certificate again."""

    def compared(request):
        with sqlite.write() as session:
            body = certificates.issue(session, request.id, signer(settings), settings).body
        values = list(recompute(sqlite, artifacts, settings, body, 1e-4))
        return dsse.read(body)["predicate"], {value.place: value.verdict for value in values}

    return compared


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


def test_evaluation_sets_leave_out_what_any_request_of_the_run_forgets(
    submit, run, now, add_set, known, recomputed, artifacts, settings, sqlite
):
    """It is no lost accuracy and nothing unseen; the certificate says so, and is the same when it is computed again."""
    others = range(100, 220)
    add_set("test", 1, *others, 2, 3)
    add_set("retain", *range(300, 310), 4)
    run_for = [submit(1, 2), submit(2, 3, 4)]
    run()
    done = now(*run_for)
    metrics = done[0].job.metrics
    for when in ("before", "after"):
        assert metrics[when]["left_out"] == {"test": 3, "retain": 1}
        assert metrics[when]["membership"]["unseen"]["controls"] == len(others)
    version = done[0].job.version
    given = {"num_classes": len(CLASSES), "image_size": PREPROCESSING.size}
    architecture = Architecture.model_validate(version.architecture)
    unlearned = architectures.load(architecture, artifacts.path(version.checkpoint), **given).eval()
    right = sum(predicted(unlearned, image) == label for image, label in known(*others))
    assert metrics["before"]["test_accuracy"] == 100
    assert metrics["after"]["test_accuracy"] == pytest.approx(100 * right / len(others))

    predicate, verdicts = recomputed(done[0])
    assert predicate["measurements"]["after"]["left_out"] == {"test": 3, "retain": 1}
    assert set(verdicts.values()) == {"same"}
    # Without the images nobody can tell which images of the sets were left out.
    housekeeping.destroy_samples(sqlite, artifacts, settings)
    _, verdicts = recomputed(done[0])
    assert verdicts["measurements.after.test_accuracy"] == "needs the images"
    assert "differs" not in verdicts.values()


def test_a_certificate_from_before_images_were_left_out_is_measured_on_whole_sets(
    submit, run, now, add_set, recomputed, sqlite, monkeypatch
):
    add_set("test", 1, *range(100, 220))
    with monkeypatch.context() as before:
        before.setattr(Inputs, "without", lambda inputs, _: inputs)
        request = submit(1)
        run()
    with sqlite.write() as session:
        job = session.get_one(Job, request.job_id)
        job.metrics = {when: {k: v for k, v in it.items() if k != "left_out"} for when, it in job.metrics.items()}
    predicate, verdicts = recomputed(*now(request))
    assert predicate["measurements"]["after"]["membership"]["unseen"]["controls"] == 121
    assert set(verdicts.values()) == {"same"}
