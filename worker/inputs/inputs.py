"""The inputs of a job: rows of the registry, files of the artifact store, and the network built from them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from service.registry.errors import RegistryError
from service.registry.images import archive
from service.registry.images.archive import LabelledImage
from service.registry.images.decoding import rgba_digest
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
class MeasuredSet:
    """An evaluation set, and which of its images are measured."""

    row: EvaluationSet
    file: Path  # its digest checked
    indices: Sequence[int]  # from 0, ascending
    left_out: int | None = None  # images that show one to forget; None = not looked for

    @classmethod
    def whole(cls, row: EvaluationSet, artifacts: Artifacts) -> "MeasuredSet":
        """All images of the set.

        Raises:
            EvaluationSetAltered: the file is not what its digest says.
        """
        return cls(row, verified(artifacts.path(row.samples), row.sha256, EvaluationSetAltered), range(row.count))

    def without(self, digests: set[bytes]) -> "MeasuredSet":
        """The same, without the images that show the same as one with these digests, whatever their labels."""
        shown = [rgba_digest(image) for image, _ in archive.read(self.file)]
        indices = [index for index, digest in enumerate(shown) if digest not in digests]
        return replace(self, indices=indices, left_out=len(shown) - len(indices))


@dataclass(frozen=True)
class Inputs:
    """A job's rows and files, as the registry has them."""

    options: Options
    model: Model
    base: Version  # what to unlearn from
    checkpoint: Path  # of the base version, its digest checked
    requests: list[DeletionRequest]
    sets: list[MeasuredSet]  # at most one of a kind
    references: list[ReferenceModel]

    @property
    def preprocessing(self) -> Preprocessing:
        """How the base version's images are prepared; the new version's too."""
        return Preprocessing.model_validate(self.base.preprocessing)

    @property
    def test(self) -> MeasuredSet | None:
        """The test set; None where there is none, or nothing of it is measured."""
        return self._measured("test")

    @property
    def retain(self) -> MeasuredSet | None:
        """The same of the retained set."""
        return self._measured("retain")

    @property
    def left_out(self) -> dict[str, int | None]:
        """How many images of each kind of set are not measured; None where there is no set, or nobody has looked."""
        return dict.fromkeys(("test", "retain")) | {each.row.kind: each.left_out for each in self.sets}

    def without(self, images: Iterable[Image.Image]) -> "Inputs":
        """The same, with evaluation sets that leave out what shows one of these images.

        It is to be forgotten, so that no longer recognising it is no loss, and it is not unseen.
        """
        digests = {rgba_digest(image) for image in images}
        return replace(self, sets=[each.without(digests) for each in self.sets])

    def _measured(self, kind: str) -> MeasuredSet | None:
        return next((each for each in self.sets if each.row.kind == kind and each.indices), None)


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
    return Inputs(
        options=options,
        model=job.model,
        base=base,
        checkpoint=verified(artifacts.path(base.checkpoint), base.sha256, CheckpointAltered),
        requests=requests,
        sets=[MeasuredSet.whole(row, artifacts) for row in newest if row is not None],
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
