"""Reference models in a run: networks that were trained on digits, and never on the images to forget."""

import uuid
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import select

from service.registry.access import api_keys
from service.registry.crypto.canonical_json import leaves
from service.registry.job_queue import claims, jobs
from service.registry.models import dispositions, evaluation_sets, models, versions
from service.registry.models.architectures import Architecture
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.operations import housekeeping
from service.registry.options import Options, Reference
from service.registry.states import Disposition
from service.registry.tables import Model, Version
from service.registry.training_data import reference_models
from service.registry.training_data.reference_models import LeftOut
from tests.worker.given_runs import FEW, add_anchors, submit
from worker import digits
from worker.evaluation.reference_outputs import reference_outputs
from worker.inputs.images import distinct_images
from worker.inputs.inputs import images_of, read_inputs
from worker.job import attempt
from worker.job.progress_report import ProgressReport, numbers
from worker.networks import architectures
from worker.unlearning import DEFAULT
from worker.unlearning.membership import References, membership
from worker.unlearning.references import log_odds

CLASSES = [str(digit) for digit in range(10)]
ARCHITECTURE = Architecture(name="cifar_resnet8", in_channels=1)
FORGOTTEN = 12
OPTIONS = Options(
    scope="exact",
    references=[Reference(model="references", version=1), Reference(model="references", version=2)],
)


@dataclass(frozen=True)
class Trained:
    """A network, and how images become its input."""

    network: torch.nn.Module
    preprocessing: Preprocessing

    def odds(self, shown):
        with torch.no_grad():
            logits = self.network(digits.inputs(shown.images, self.preprocessing))
        return log_odds(logits, torch.from_numpy(shown.labels))


@dataclass(frozen=True)
class Known:
    """A network that knows its first images by heart, under labels that are wrong; two that never saw them."""

    model: Trained
    references: list[Trained]
    forget: digits.Split
    test: digits.Split


@pytest.fixture(scope="module")
def known():
    """One reference takes larger images than the others, and another mean."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train, test = digits.split(0)
    usual = digits.statistics(train)
    labels = train.labels.copy()
    labels[:FORGOTTEN] = (labels[:FORGOTTEN] + 1) % 10

    def trained(images, labels, preprocessing, epochs):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(digits, "EPOCHS", epochs)
            network = digits.train(digits.inputs(images, preprocessing), torch.from_numpy(labels), seed=epochs)
        return Trained(network, preprocessing)

    larger = Preprocessing(size=(10, 10), mean=[0.5], std=[0.25])
    halves = [slice(FORGOTTEN, 700), slice(700, None)]
    yield Known(
        model=trained(train.images, labels, usual, 20),
        references=[
            trained(train.images[half], train.labels[half], how, 5)
            for half, how in zip(halves, (usual, larger), strict=True)
        ],
        forget=digits.Split(train.images[:FORGOTTEN], labels[:FORGOTTEN]),
        test=test,
    )
    torch.set_num_threads(threads)


@pytest.fixture
def model(sqlite, artifacts, known):
    """What the requests are about, and its references."""

    def keep(name, write):
        with artifacts.stage() as staged:
            write(staged.path)
            sha256, size = staged.digest()
            staged.keep(name)
        return {"sha256": sha256, "size": size}

    def register(session, model, trained):
        checkpoint = f"checkpoints/{uuid.uuid4()}"
        file = keep(checkpoint, lambda path: architectures.save(trained.network, path, {}))
        versions.register_version(
            session,
            model,
            parent=None,
            architecture=ARCHITECTURE.model_dump(),
            classes=CLASSES,
            preprocessing=trained.preprocessing.model_dump(mode="json"),
            attributes={},
            checkpoint=checkpoint,
            code_version="0",
            gate=None,
            **file,
        )

    def save(arrays):
        def write(path):
            with path.open("wb") as file:
                np.savez(file, **arrays)

        return write

    with sqlite.write() as session:
        tenant_id = api_keys.ensure_tenant(session, "acme").id
        given = {"description": "", "policy": Policy(), "approval_required": False}
        found, others = (models.register_model(session, tenant_id, name=it, **given) for it in ("digits", "references"))
        register(session, found, known.model)
        for trained in known.references:
            register(session, others, trained)
        test = keep("test", save({"images": known.test.images[..., None], "labels": known.test.labels}))
        evaluation_sets.add_evaluation_set(
            session, found, name="test", kind="test", samples="test", count=len(known.test.labels), **test
        )
        add_anchors(session, artifacts, tenant_id, CLASSES)
        return found


@pytest.fixture
def claim(sqlite, artifacts, settings, model, known):
    """A worker's hold on the job that is to forget the images."""
    labelled = zip(map(Image.fromarray, known.forget.images), known.forget.labels, strict=True)
    submit(sqlite, artifacts, settings, model, list(labelled), OPTIONS)
    with sqlite.write() as session:
        return claims.take(session, worker="w", lease=timedelta(hours=1))


def expected(known, network, used):
    """Membership as the library has it, of networks that are called here and not by the product."""
    forget, test = known.forget, known.test
    labels = [torch.from_numpy(side.labels) for side in (forget, test)]
    with torch.no_grad():
        logits = [network(digits.inputs(side.images, known.model.preprocessing)) for side in (forget, test)]
    odds = [torch.stack([one.odds(side) for one in used]) for side in (forget, test)]
    found = membership(logits[0], labels[0], logits[1], labels[1], references=References(*odds))
    return asdict(found)


def flat(document):
    return dict(leaves(numbers(document), "membership"))


def test_a_run_attacks_both_versions_with_the_references(sqlite, artifacts, settings, known, claim, monkeypatch):
    """Images that were learned under wrong labels look unlike any other; that the references differ shows why.

    While it measures, the run tells how many images it has shown to the two versions.
    """
    told = []
    monkeypatch.setattr(ProgressReport, "evaluation_progress", lambda _, images, total: told.append((images, total)))
    monkeypatch.setattr(attempt, "DEFAULT", replace(DEFAULT, **FEW))
    attempt.run(sqlite, artifacts, settings, claim, ProgressReport(sqlite, claim))
    with sqlite.read() as session:
        ended = jobs.read(session, claim.job_id)
    path = artifacts.path(ended.version.checkpoint)
    unlearned = architectures.load(ARCHITECTURE, path, num_classes=10, image_size=(digits.SIDE, digits.SIDE))
    before, after = (ended.metrics[when]["membership"] for when in ("before", "after"))
    assert flat(before) == pytest.approx(flat(expected(known, known.model.network, known.references)), abs=1e-6)
    assert flat(after) == pytest.approx(flat(expected(known, unlearned, known.references)), abs=1e-6)
    attacks = before["unseen"]["attacks"]
    assert attacks["loss"]["auc"] < 0.2
    assert min(attacks["lira"]["auc"], attacks["rmia"]["auc"]) > 0.9
    assert after["unseen"]["attacks"]["lira"]["auc"] < attacks["lira"]["auc"]
    images = len(known.test.labels)
    assert told == [(256, 2 * images), (images, 2 * images), (images + 256, 2 * images), (2 * images, 2 * images)]
    named = ended.provenance["references"]
    assert [(one["name"], one["left_out"]) for one in named] == [("references/1", None), ("references/2", None)]
    assert [one["digest"]["sha256"] for one in named] == digests(sqlite)


def digests(database):
    with database.read() as session:
        rows = select(Version.sha256).join(Version.model).where(Model.name == "references").order_by(Version.number)
        return list(session.scalars(rows))


@pytest.fixture
def compared(sqlite, artifacts, settings, claim):
    """Lets the references see what they are to see."""

    def shown(left_out=()):
        inputs = read_inputs(sqlite, artifacts, claim).without(left_out)
        images, _ = distinct_images({one.id: images_of(one, artifacts, settings) for one in inputs.requests})
        return reference_outputs(inputs, artifacts, settings, images, torch.device("cpu"))

    return shown


@pytest.fixture
def second(sqlite, model):
    """The second reference."""
    with sqlite.read() as session:
        named = [Reference(model="references", version=2)]
        return reference_models.find(session, model.tenant_id, named)[0]


@pytest.mark.parametrize("how", list(LeftOut)[:4])
def test_the_others_are_compared_with_where_one_is_not_there(sqlite, artifacts, known, compared, second, how):
    """Whatever became of it after the request was accepted."""
    if how in (LeftOut.DELETED, LeftOut.QUARANTINED):
        with sqlite.write() as session:
            row = session.get(Version, second.id)
            dispositions.dispose(session, session.get(Model, row.model_id), row, Disposition(how))
        housekeeping.destroy_checkpoints(sqlite, artifacts)
    elif how is LeftOut.MISSING:
        artifacts.path(second.checkpoint).unlink()
    else:
        artifacts.path(second.checkpoint).write_bytes(b"rotten")
    found = compared()
    assert [one.left_out for one in found.models] == [None, how]
    assert torch.allclose(found.log_odds.forget, known.references[0].odds(known.forget)[None])
    assert torch.allclose(found.log_odds.unseen, known.references[0].odds(known.test)[None])


def test_with_none_of_them_there_nothing_is_compared(artifacts, sqlite, compared, model):
    """Which is no failure of the run."""
    with sqlite.read() as session:
        for version in reference_models.find(session, model.tenant_id, OPTIONS.references):
            artifacts.path(version.checkpoint).unlink()
    found = compared()
    assert ([one.left_out for one in found.models], found.log_odds) == ([LeftOut.MISSING] * 2, None)


def test_without_a_test_set_no_reference_is_loaded(artifacts, known, compared, second):
    """There is nothing to compare the images with."""
    artifacts.path(second.checkpoint).unlink()
    found = compared(left_out=map(Image.fromarray, known.test.images[99:]))
    assert ([one.left_out for one in found.models], found.log_odds) == ([LeftOut.NO_TEST_SET] * 2, None)


def test_references_are_not_shown_what_is_left_out_of_the_test_set(compared, known):
    """They would be asked about images that nobody else is asked about."""
    found = compared(left_out=map(Image.fromarray, known.test.images[:7]))
    test = digits.Split(known.test.images[7:], known.test.labels[7:])
    assert torch.allclose(found.log_odds.unseen[0], known.references[0].odds(test), atol=1e-5)
