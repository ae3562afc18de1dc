"""The inputs of a job: rows of the registry, files of the artifact store, and the network built from them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from service.registry.errors import RegistryError
from service.registry.images import archive
from service.registry.images.archive import LabelledImage
from service.registry.job_queue import jobs
from service.registry.job_queue.claims import Claim
from service.registry.models import evaluation_sets, versions
from service.registry.models.architectures import Architecture
from service.registry.models.preprocessing import Preprocessing
from service.registry.options import Options
from service.registry.settings import RegistrySettings
from service.registry.states import Disposition
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest, EvaluationSet, Model, Version
from service.registry.training_data import reference_models
from service.registry.training_data.reference_models import LeftOut
from worker.networks import architectures
from worker.unlearning import SplitClassifier

_OUT_OF_USE = {Disposition.QUARANTINED: LeftOut.QUARANTINED, Disposition.DELETED: LeftOut.DELETED}


class CheckpointAltered(RegistryError):
    """The stored checkpoint is not the one that was registered; restore it from a backup, then retry."""


class EvaluationSetAltered(RegistryError):
    """A stored evaluation set is not the one that was registered; restore it from a backup, then retry."""


class ImagesDamaged(RegistryError):
    """The images cannot be decoded: their file is damaged; restore it from a backup, then retry."""


@dataclass(frozen=True)
class ReferenceModel:
    """A reference model of membership inference, and why it is left out, if it is."""

    version: Version  # with its model
    left_out: LeftOut | None = None


@dataclass(frozen=True)
class Inputs:
    """A job's rows and files, as the registry has them."""

    options: Options
    model: Model
    base: Version  # what to unlearn from
    checkpoint: Path  # of the base version, its digest checked
    requests: list[DeletionRequest]
    sets: list[EvaluationSet]  # what it is measured on, at most one of a kind
    test: Path | None  # their digests checked
    retain: Path | None
    references: list[ReferenceModel]

    @property
    def preprocessing(self) -> Preprocessing:
        """How the base version's images are prepared; the new version's too."""
        return Preprocessing.model_validate(self.base.preprocessing)


def read_inputs(database: Database, artifacts: Artifacts, claim: Claim) -> Inputs:
    """The inputs of the claimed job; its base is the model's newest version.

    Raises:
        CheckpointAltered, EvaluationSetAltered: the file is not what its digest says.
    """
    with database.read() as session:
        job = jobs.read(session, claim.job_id)
        requests = jobs.requests_of(session, claim.job_id)
        base = versions.require_latest_version(session, job.model)
        newest = [evaluation_sets.newest_evaluation_set(session, job.model_id, kind) for kind in ("test", "retain")]
        options = Options.model_validate(job.options)
        reference_versions = reference_models.find(session, job.tenant_id, options.references)
    sets = [evaluation_set for evaluation_set in newest if evaluation_set is not None]
    paths = {
        evaluation_set.kind: verified(
            artifacts.path(evaluation_set.samples), evaluation_set.sha256, EvaluationSetAltered
        )
        for evaluation_set in sets
    }
    return Inputs(
        options=options,
        model=job.model,
        base=base,
        checkpoint=verified(artifacts.path(base.checkpoint), base.sha256, CheckpointAltered),
        requests=requests,
        sets=sets,
        test=paths.get("test"),
        retain=paths.get("retain"),
        references=[
            ReferenceModel(version, _OUT_OF_USE.get(version.disposition)) for version in reference_versions if version
        ],
    )


def images_of(request: DeletionRequest, artifacts: Artifacts, settings: RegistrySettings) -> list[LabelledImage]:
    """The images that a request wants forgotten, with their labels.

    Raises:
        ImagesMissing, ImagesDamaged, OtherMasterKey, SealBroken: the images of this request cannot be read.
        MasterKeyUnusable: those of no request can be read.
    """
    assert request.samples is not None  # they are destroyed when their request ends
    try:
        with archive.open_images(request, artifacts.path(request.samples), settings) as file:
            return list(archive.read(file))
    except (RegistryError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk is away; Pillow's have no errno
            raise
        raise ImagesDamaged from error


def classifier(version: Version, checkpoint: Path, device: torch.device) -> SplitClassifier:
    """The classifier of `version`'s kind with the weights of `checkpoint`."""
    preprocessing = Preprocessing.model_validate(version.preprocessing)
    network = architectures.load(
        Architecture.model_validate(version.architecture),
        checkpoint,
        num_classes=len(version.classes),
        image_size=preprocessing.size,
    )
    return SplitClassifier(network, mean=preprocessing.mean, std=preprocessing.std).to(device).eval()


def verified(file: Path, sha256: str, error: type[RegistryError]) -> Path:
    """The file, once its SHA-256 has been checked.

    Raises:
        error: the digest is another one.
    """
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            raise error
    return file
